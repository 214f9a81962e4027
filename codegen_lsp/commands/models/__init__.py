"""`codegen-lsp models`: one module for its smaller commands, one for each larger one."""
