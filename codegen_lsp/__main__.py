"""`python -m codegen_lsp` is `codegen-lsp`."""

from codegen_lsp.cli import main

if __name__ == "__main__":
    main()
