"""An editor in a few lines: start the language server, open a document, type, and ask for ghost text.

Run `python examples/minimal_editor.py`. What the server answers is what VS Code, Neovim and Emacs draw.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from lsprotocol import types as lsp

from codegen_lsp.headless_editor import HeadlessEditor

TEXT = 'import os\n\n\ndef main():\n    print("hello")\n\n\n'
TYPED = "if __name__ "


async def main() -> None:
    """Type the last line of a script, character by character, and print what is suggested on the way."""
    async with HeadlessEditor({"model": "nano"}) as editor:
        await editor.ready()
        uri = editor.open(Path("hello.py"), TEXT)
        line = TEXT.count("\n")
        for column, character in enumerate(TYPED):
            place = lsp.Position(line, column)
            editor.change(uri, column + 2, lsp.Range(place, place), character)
            items = await editor.inline(uri, line, column + 1)
            ghost = items[0].insert_text if items else ""
            print(f"{TYPED[: column + 1]}|{ghost}")


if __name__ == "__main__":
    asyncio.run(main())
