"""When other files change what a prompt starts with: never because of typing. Through a real language server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp
from support.editor import Editor, StartEditor
from support.fake_engine import FakeEngine, until

MAIN = "from helpers import area\n\nprint(area(\n"


async def prompt(ed: Editor, uri: str, line: int = 2, character: int = 11) -> dict[str, Any]:
    await ed.inline(uri, line, character, invoked=True)
    record = await ed.command("codegen.showLastRequest", {"uri": uri})
    assert isinstance(record, dict)
    return record


async def starts_with(ed: Editor, uri: str, text: str) -> dict[str, Any]:
    """The last request, once its prompt starts with a text: files are read in the background."""
    records: list[dict[str, Any]] = []
    for _ in range(100):
        records.append(await prompt(ed, uri))
        if (records[-1]["prompt"] or {}).get("text", "").startswith(text):
            return records[-1]
    raise AssertionError(records[-1]["prompt"])


def save(ed: Editor, uri: str) -> None:
    ed.client.text_document_did_save(lsp.DidSaveTextDocumentParams(lsp.TextDocumentIdentifier(uri)))


async def test_an_imported_definition_is_at_the_prompt_s_start_and_listed(
    editor: StartEditor, tmp_path: Path
) -> None:
    (tmp_path / "helpers.py").write_text('def area(r):\n    """Area."""\n    return r\n')
    ed = await editor()
    record = await starts_with(ed, ed.open(MAIN), "# helpers.py\n")
    head = '# helpers.py\ndef area(r):\n    """Area."""\n\n# a.py\n'
    assert record["prompt"]["text"] == head + "from helpers import area\n\nprint(area("
    (piece,) = record["prompt"]["otherFiles"]
    assert piece.pop("tokens") > 0
    assert piece == {
        "path": "helpers.py",
        "source": "import",
        "why": "area is used near the cursor",
        "text": 'def area(r):\n    """Area."""',
    }


async def test_typing_changes_nothing_above_saving_closing_and_leaving_do(
    editor: StartEditor, tmp_path: Path
) -> None:
    (tmp_path / "helpers.py").write_text("def area(r): ...\n")
    ed = await editor()
    main = ed.open(MAIN)
    await starts_with(ed, main, "# helpers.py\ndef area(r): ...\n")
    helpers = ed.open("def area(r): ...\n", "helpers.py")
    await prompt(ed, helpers, 0, 0)
    await starts_with(ed, main, "# helpers.py\ndef area(r): ...\n")
    ed.insert(helpers, lsp.Position(0, 10), ", unit")
    record = await prompt(ed, main)
    assert record["prompt"]["text"].startswith("# helpers.py\ndef area(r): ...\n"), "typed, not yet saved"
    save(ed, helpers)
    await starts_with(ed, main, "# helpers.py\ndef area(r, unit): ...\n")
    await prompt(ed, helpers, 0, 0)
    ed.insert(helpers, lsp.Position(0, 4), "my_")
    ed.insert(helpers, lsp.Position(0, 4), "area(): ...\ndef ")
    await starts_with(ed, main, "# helpers.py\ndef area(): ...\n")  # it was left, unsaved
    ed.close(helpers)
    await starts_with(ed, main, "# helpers.py\ndef area(r): ...\n")  # the disk's again


async def test_typing_a_function_leaves_every_byte_above_the_file_as_it_is(
    editor: StartEditor, tmp_path: Path
) -> None:
    (tmp_path / "shapes.py").write_text(
        "class Shape:\n    width: int = 0\n    def scaled(self, by: int) -> 'Shape': ...\n\ndef draw(s): ...\n"
    )
    ed = await editor()
    main = ed.open("from shapes import Shape, draw\n\n")
    head = "# shapes.py\nclass Shape:\n    width: int = 0\n"
    above = (await starts_with(ed, main, head))["prompt"]["text"].partition("# a.py\n")[0]
    line, column = 2, 0
    for key in "def twice(shape: Shape):\n    big = shape.scaled(2)\n    draw(big)\n    return big.width\n":
        ed.insert(main, lsp.Position(line, column), key)
        line, column = (line + 1, 0) if key == "\n" else (line, column + 1)
        text = (await prompt(ed, main, line, column))["prompt"]["text"]
        assert text.partition("# a.py\n")[0] == above


async def test_names_near_the_cursor_come_first_in_a_document_that_was_opened_at_its_beginning(
    editor: StartEditor, tmp_path: Path
) -> None:
    (tmp_path / "two.py").write_text("def first(): ...\ndef second(): ...\n")
    ed = await editor()
    text = "from two import first, second\nfirst()\n" + "x = 1\n" * 90 + "second()\n"
    uri = ed.open(text)
    for _ in range(100):
        record = await prompt(ed, uri, 92, 0)
        if record["prompt"]["text"].startswith("# two.py\ndef second(): ...\ndef first"):
            return
    raise AssertionError(record["prompt"]["text"][:200])


async def test_nothing_is_suggested_in_an_excluded_file(
    editor: StartEditor, tmp_path: Path, fake: FakeEngine
) -> None:
    (tmp_path / ".gitignore").write_text("local/\n")
    ed = await editor({"exclude": ["*_gen.py"]})
    for name in (".env", "local/a.py", "x_gen.py"):
        record = await prompt(ed, ed.open("TOKEN = \n", name), 0, 8)
        assert (record["reason"], record["prompt"]) == ("excluded-file", None)
    assert (await prompt(ed, ed.open("x = \n", "fine.py"), 0, 4))["reason"] != "excluded-file"
    assert (await prompt(ed, ed.open("x = \n", uri="untitled:Untitled-1"), 0, 4))["reason"] != "excluded-file"
    assert not any("TOKEN" in str(request) for request in fake.completions)
    surprise = await ed.command("codegen.surprise", {"uri": (tmp_path / ".env").as_uri()})
    assert surprise["reason"] == "excluded-file"


@pytest.mark.parametrize("settings", [{"otherFiles": "never"}, {"otherFilesShare": 0}])
async def test_other_files_can_be_switched_off(
    editor: StartEditor, tmp_path: Path, settings: dict[str, Any]
) -> None:
    (tmp_path / "helpers.py").write_text("def area(r): ...\n")
    ed = await editor(settings)
    uri = ed.open(MAIN)
    for _ in range(3):
        record = await prompt(ed, uri)
        assert record["prompt"]["otherFiles"] == []
        assert record["prompt"]["text"].startswith("from helpers")


async def test_a_document_is_warmed_with_what_other_files_say(
    editor: StartEditor, tmp_path: Path, fake: FakeEngine
) -> None:
    (tmp_path / "helpers.py").write_text("def area(r): ...\n")
    ed = await editor({"warm": True})
    ed.open(MAIN)
    await until(lambda: any("# helpers.py" in str(request["prompt"]) for request in fake.warmings))
