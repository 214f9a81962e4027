"""The subcommands of `codegen-lsp`, one module each; `codegen_lsp.cli` lists them and imports the one that is run.

A command turns options into one call of the engine, the language server or an evaluation, and prints the result. It
imports what it calls when it runs, so that `--help` stays quick. `options` holds the options that several commands
share, `terminal` everything that is printed for people.
"""
