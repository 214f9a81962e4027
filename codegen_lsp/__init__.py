"""Code completion in the editor, from a CodeGen model that runs on the user's own machine.

The package has two sides that never import each other's libraries: `codegen_lsp.lsp` speaks to the editor
and imports no torch; `codegen_lsp.engine` owns the model and imports no lsprotocol. `codegen_lsp.wire` is the
language between them.
"""

__version__ = "0.1.0"
