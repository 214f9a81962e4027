"""Requests to engines that fill in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.editor import StartEditor, text_of
from support.fake_engine import FakeEngine

FILL = {
    "family": "Qwen2.5-Coder",
    "order": "psm",
    "tokens": 3,
    "separates_files": True,
    "file_tokens": 9,
    "scores": {"left-to-right": -1.0, "psm": -0.5},
    "reason": "known middles are likelier with the text after them",
}
TEXT = "def f(x):\n    y = \n    return y\n"


@pytest.mark.parametrize(
    ("order", "setting", "fills"),
    [("psm", "auto", True), ("spm", "auto", True), ("left-to-right", "auto", False), ("psm", "never", False)],
)
async def test_the_text_after_the_cursor_is_sent(
    editor: StartEditor, fake: FakeEngine, order: str, setting: str, fills: bool
) -> None:
    fake.fill = FILL | {"order": order}
    fake.rows = ["x + 1"]
    ed = await editor({"fillInTheMiddle": setting, "suffixRanking": True})
    uri = ed.open(TEXT)
    (item,) = await ed.inline(uri, 1, 8)
    assert text_of(item) == "x + 1"
    request = fake.completions[-1]
    assert request["prompt"] == "def f(x):\n    y = "
    assert request.get("suffix", "") == ("\n    return y\n" if fills else "")
    prompt = (await ed.last())["prompt"]
    assert prompt["order"] == (order if fills else "left-to-right")
    assert prompt["suffix"] == request.get("suffix", "")


@pytest.mark.parametrize("gains", [True, False])
async def test_middles_are_ranked_by_the_text_after_them_only_where_that_gains(
    editor: StartEditor, fake: FakeEngine, gains: bool
) -> None:
    fake.fill = FILL | {"suffix_ranking": gains}
    fake.rows = ["x + 1", "x - 1"]
    ed = await editor({"suffixRanking": True})
    await ed.inline(ed.open(TEXT), 1, 8)
    scored = [request for request in fake.requests if request.get("echo")]
    assert bool(scored) == gains
    assert all("suffix" not in request for request in scored)
    measured = [candidate["suffixLogprob"] for candidate in (await ed.last())["candidates"]]
    assert all((number is not None) == gains for number in measured)


@pytest.mark.parametrize("separates", [True, False])
async def test_other_files_are_sent_beside_the_text_after_the_cursor(
    editor: StartEditor, fake: FakeEngine, tmp_path: Path, separates: bool
) -> None:
    (tmp_path / "helpers.py").write_text("def area(r): ...\n")
    fake.fill = FILL | {"separates_files": separates}
    ed = await editor()
    uri = ed.open("from helpers import area\n\nx = \nprint(x)\n")
    for _ in range(100):  # Files are read in the background.
        await ed.inline(uri, 2, 4, invoked=True)
        if (await ed.last())["prompt"]["otherFiles"]:
            break
    request = fake.completions[-1]
    assert request["suffix"] == "\nprint(x)\n"
    text = "from helpers import area\n\nx = "
    if separates:
        assert request["prompt"] == text
        assert request["files"] == [{"path": "helpers.py", "text": "def area(r): ...\n"}]
        assert request["path"] == "a.py"
    else:
        assert request["prompt"] == f"# helpers.py\ndef area(r): ...\n\n# a.py\n{text}"
        assert "files" not in request
