"""Documents of every kind: encodings, line ends, cells of a notebook, untitled and closed ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams
from support.editor import StartEditor, text_of
from support.fake_engine import FakeEngine

CODE = "def add(a, b):\n    return "
END = (1, 11)


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (lsp.PositionEncodingKind.Utf8, 14),
        (lsp.PositionEncodingKind.Utf16, 11),
        (lsp.PositionEncodingKind.Utf32, 9),
    ],
)
async def test_columns_in_every_encoding(
    editor: StartEditor, fake: FakeEngine, encoding: lsp.PositionEncodingKind, column: int
) -> None:
    ed = await editor(encodings=[encoding])
    assert ed.answer.capabilities.position_encoding == encoding
    fake.rows = [" + 1"]
    # Two emoji outside the basic plane; é as one character: 3 + 4 + 4 + ... units of UTF-8.
    line = 'x = "🎈🎉"'
    assert len(line.encode()) == 14
    assert len(line.encode("utf-16-le")) // 2 == 10
    uri = ed.open(line + "é\n")
    end = {"utf-8": 16, "utf-16": 11, "utf-32": 9}[encoding.value]
    (item, *_) = await ed.inline(uri, 0, end, invoked=True)
    assert fake.completions[0]["prompt"] == line + "é"
    assert item.range == lsp.Range(lsp.Position(0, end), lsp.Position(0, end))
    ed.insert(uri, lsp.Position(0, end), "!")
    await ed.inline(uri, 0, end + 1, invoked=True)
    assert fake.completions[1]["prompt"] == line + "é!"


async def test_form_feeds_and_separators_are_no_line_ends(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open("a = 1\x0cb\u2028c\x85d\ny = 2\n")
    ed.insert(uri, lsp.Position(1, 5), " +")
    await ed.inline(uri, 1, 7, invoked=True)
    assert fake.completions[0]["prompt"].endswith("\ny = 2 +")


async def test_carriage_returns(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"multiline": "always"})
    fake.rows = ["a\n    b = 2\n    return b"]
    uri = ed.open("def f(a):\r\n    b = \r\n")
    items = await ed.inline(uri, 1, 8, invoked=True)
    assert fake.completions[0]["prompt"] == "def f(a):\n    b = "
    assert items
    assert all("\n" not in text_of(i).replace("\r\n", "") for i in items)


async def test_positions_out_of_range_are_clamped(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    uri = ed.open(CODE)
    await ed.inline(uri, 1, 2**31 - 1, invoked=True)
    await ed.inline(uri, 2**31 - 1, 0, invoked=True)
    assert {r["prompt"] for r in fake.completions} == {CODE}


async def test_a_document_that_is_not_open_is_an_error(editor: StartEditor, tmp_path: Path) -> None:
    ed = await editor()
    (tmp_path / "closed.py").write_text("secret = 1\n")
    uri = (tmp_path / "closed.py").as_uri()
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.inline(uri, 0, 0)
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.menu(uri, 0, 0)
    opened = ed.open(CODE)
    ed.close(opened)
    with pytest.raises(JsonRpcInvalidParams, match="not open"):
        await ed.inline(opened, 0, 0)


async def test_untitled_documents(editor: StartEditor) -> None:
    ed = await editor()
    uri = ed.open(CODE, uri="untitled:Untitled-1")
    assert await ed.inline(uri, *END)


async def test_notebook_cells_continue_the_cells_above(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor()
    cell = "vscode-notebook-cell:/n.ipynb#{}".format
    texts = ["import numpy as np", "# A heading", "x = np."]
    kinds = [lsp.NotebookCellKind.Code, lsp.NotebookCellKind.Markup, lsp.NotebookCellKind.Code]
    languages = ["python", "markdown", "python"]
    ed.client.notebook_document_did_open(
        lsp.DidOpenNotebookDocumentParams(
            lsp.NotebookDocument(
                "file:///n.ipynb",
                "jupyter-notebook",
                1,
                [lsp.NotebookCell(kind, cell(i)) for i, kind in enumerate(kinds)],
            ),
            [
                lsp.TextDocumentItem(cell(i), language, 1, text)
                for i, (language, text) in enumerate(zip(languages, texts, strict=True))
            ],
        )
    )
    items = await ed.inline(cell(2), 0, 7, invoked=True)
    assert fake.completions[0]["prompt"] == "import numpy as np\n\nx = np."
    assert items[0].range is not None
    assert items[0].range.start == lsp.Position(0, 7)


async def test_what_is_opened_and_changed_is_read_ahead(editor: StartEditor, fake: FakeEngine) -> None:
    ed = await editor({"warm": True})
    uri = ed.open("import os\n\nx = 1\n")
    await ed.until(lambda: fake.warmings)
    (request,) = fake.warmings
    assert request["prompt"].startswith("import os\n\nx = 1")
    assert request["priority"] == 1
    ed.insert(uri, lsp.Position(1, 0), "import sys\n")
    await ed.until(lambda: len(fake.warmings) == 2)
    assert fake.warmings[1]["prompt"].startswith("import os\nimport sys")
    ed.client.protocol.notify("textDocument/didFocus", {"textDocument": {"uri": uri}})
    await ed.until(lambda: len(fake.warmings) == 3)
