"""The subcommands of `codegen-lsp`."""
