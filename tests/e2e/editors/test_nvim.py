"""Neovim on a real screen with the real server, the real engine and nano, in the oldest and the newest version.

No test depends on what nano writes: each reads the suggestion from the screen, and compares the file with it.
`test_nvim_plugin.py` has the tests that depend on a certain suggestion.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from support.engines import engines_in, stop_engines

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("drives a real Neovim; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors import install_nvim, nvim_picture, shapes
from e2e.editors.cache import EditorUnavailableError
from e2e.editors.nvim_screen import Editor, ScreenFrame

pytestmark = [pytest.mark.e2e, pytest.mark.editor, pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PICTURE = ROOT / "editors" / "pictures" / "nvim.png"
ALT = "\x1b"
LONG = 90
"""Time in seconds for loading a model on a busy machine."""

OPTIONS = {
    "cmd": [sys.executable, "-m", "codegen_lsp"],
    "settings": {"minConfidence": 0, "candidates": 4, "maxTokensLine": 20, "maxTokensBlock": 48},
}
"""Show everything that nano writes: these tests are not about its quality."""

HEADER = shapes.OPENING + shapes.CIRCLE

BLOCKS = tuple((f"    def {signature}", ":\r") for signature in shapes.SIGNATURES)
"""The end of the file, and the text typed there, to get a block; the editor indents the new line."""

Open = Callable[..., Editor]


@pytest.fixture(scope="module", params=list(install_nvim.SUITES))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def nvim(version: str) -> Path:
    try:
        return install_nvim.install(version)
    except EditorUnavailableError as error:
        pytest.skip(f"Neovim {version} can't be installed here: {error}")


@pytest.fixture
def start(nvim: Path, version: str, runtime: Path, tmp_path: Path) -> Iterator[Open]:
    """Open a file with this text and wait until the server is ready; the cursor is at the end of the last line."""
    editors: list[Editor] = []

    def start(
        text: str | bytes, *, name: str = "shapes.py", before: str = "", size: tuple[int, int] = (40, 100)
    ) -> Editor:
        file = tmp_path / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        options = f"vim.json.decode([=[{json.dumps(OPTIONS)}]=])"
        # Each version is set up as its users do, in one line.
        setup = (
            f"vim.g.codegen_lsp = {options} vim.lsp.enable('codegen_lsp')"
            if version == "0.12"
            else f"require('codegen_lsp').setup({options})"
        )
        (tmp_path / "test.lua").write_text(f"{before}\n{setup}\n")
        environment = {
            "CODEGEN_NVIM_PLUGIN": str(ROOT / "editors" / "nvim"),
            "CODEGEN_NVIM_TEST": str(tmp_path / "test.lua"),
            "CODEGEN_LSP_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
        }
        editor = Editor(nvim, ["-u", str(HERE / "nvim_init.lua"), str(file)], tmp_path, environment, size)
        editors.append(editor)
        editor.until(lambda frame: status(frame).startswith("nano"), "the server is ready", LONG)
        editor.keys("G$")
        return editor

    yield start
    for editor in editors:
        editor.close()


def status(frame: ScreenFrame) -> str:
    """Return the right end of the statusline."""
    return frame.lines[-2].split("  ")[-1].strip()


def saved(editor: Editor, name: str = "shapes.py") -> bytes:
    editor.keys("\x1b:write\r")
    editor.until(lambda frame: "written" in frame.text, "the file was written", 20)
    return (editor.folder / name).read_bytes()


def settled(editor: Editor, seconds: float = 8) -> str:
    """Return the suggestion that is shown once the server has answered; empty if there is none."""
    try:
        editor.until(lambda frame: bool(frame.ghost), "ghost text", seconds)
    except AssertionError:
        return ""
    editor.watch(0.6)
    return editor.frame.suggestion


def replace(editor: Editor, text: str) -> None:
    """Replace the text in the editor, and put the cursor at its end, in normal mode."""
    editor.keys("\x1b")
    editor.watch(0.1)
    editor.lua("vim.api.nvim_buf_set_lines(0, 0, -1, false, ...)", text.split("\n"))
    editor.keys("G$")


def a_line(editor: Editor, wanted: Callable[[str], bool] = lambda text: len(text) > 5) -> tuple[str, str]:
    """Return the text up to the cursor, and a suggestion as wanted for the rest of its line."""
    for before, typed in shapes.LINES:
        replace(editor, HEADER + before)
        editor.keys("A")
        editor.type(typed)
        suggestion = settled(editor)
        if suggestion and "\n" not in suggestion and wanted(suggestion):
            return HEADER + before + typed, suggestion
    raise AssertionError(f"no such suggestion after any of {len(shapes.LINES)} texts\n{editor.frame.text}")


def a_block(editor: Editor) -> tuple[str, str]:
    """Return the text up to the cursor, and a suggestion of several lines."""
    for before, typed in BLOCKS:
        replace(editor, HEADER + before)
        editor.keys("A")
        editor.type(typed)
        suggestion = settled(editor)
        if "\n" in suggestion:
            return "\n".join(editor.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)")), suggestion
    raise AssertionError(
        f"no suggestion of several lines after any of {len(BLOCKS)} texts\n{editor.frame.text}"
    )


def test_a_suggestion_that_is_typed_through_and_accepted_is_in_the_file(start: Open) -> None:
    editor = start(HEADER)
    text, suggestion = a_line(editor)
    typed = suggestion[:4]
    frames = editor.type(typed, pause=0.2)
    remainders = [suggestion[n:] for n in range(5)]
    assert [frame.suggestion for frame in frames if frame.suggestion not in remainders] == []
    editor.watch(1)
    assert editor.frame.suggestion == suggestion[4:]
    editor.keys(ALT + "l")
    editor.until(lambda frame: suggestion[4:] not in frame.suggestion, "accepted", 5)
    assert saved(editor) == (text + suggestion + "\n").encode()


def test_words_then_the_line(start: Open) -> None:
    editor = start(HEADER)
    text, suggestion = a_line(editor, lambda text: len(re.findall(r"\w+|[^\w\s]+", text)) > 3)
    remainder = suggestion
    for _ in range(2):
        start_of = len(editor.frames)
        editor.keys(ALT + "w")
        editor.until(lambda frame, shown=remainder: frame.suggestion != shown, "a word less", 5)
        assert all(frame.ghost for frame in editor.frames[start_of:])
        assert remainder.endswith(editor.frame.suggestion)
        remainder = editor.frame.suggestion
    editor.keys(ALT + "j")
    editor.until(lambda frame: remainder not in frame.suggestion, "the line is accepted", 5)
    assert saved(editor) == (text + suggestion + "\n").encode()


def test_a_block_line_by_line(start: Open) -> None:
    editor = start(HEADER, size=(29, 84))
    text, suggestion = a_block(editor)
    if os.environ.get("CODEGEN_LSP_PICTURES") == "1" and editor.lua("vim.fn.has('nvim-0.12')") == 1:
        nvim_picture.draw(editor.screen, PICTURE)
    lines = suggestion.split("\n")
    editor.keys(ALT + "j")
    editor.until(lambda frame: frame.suggestion == "\n".join(lines[1:]), "a line less", 5)
    editor.keys(ALT + "l")
    editor.until(lambda frame: lines[-1] not in frame.ghost, "accepted", 5)
    written = saved(editor).decode()
    assert written.startswith(text)
    accepted_lines = [line for line in written[len(text) :].split("\n") if line.strip()]
    assert accepted_lines == lines


def test_next_and_previous_candidate(start: Open) -> None:
    editor = start(HEADER)

    for before, typed in shapes.LINES:
        replace(editor, HEADER + before)
        editor.keys("A")
        editor.type(typed)
        first = settled(editor)
        editor.keys(ALT + "n")
        editor.watch(0.5)
        second = editor.frame.suggestion
        if first and "\n" not in first and second and second != first:
            break
    else:
        raise AssertionError("fewer than two candidates everywhere")
    assert "(2/" in editor.frame.text
    editor.keys(ALT + "p")
    editor.until(lambda frame: frame.suggestion == first, "the first again", 5)
    editor.keys(ALT + "n")
    editor.until(lambda frame: frame.suggestion == second, "the second again", 5)
    editor.keys(ALT + "l")
    written = saved(editor).decode()
    assert [line for line in written[len(HEADER + before + typed) :].split("\n") if line] == second.split(
        "\n"
    )


def test_the_completion_menu(start: Open) -> None:
    editor = start(HEADER)
    text, _ = a_line(editor)
    assert editor.lua("vim.bo.omnifunc") == "v:lua.vim.lsp.omnifunc"
    editor.keys("\x18\x0f")
    editor.until(lambda frame: editor.lua("vim.fn.pumvisible()") == 1, "the menu", 20)
    word = editor.lua("vim.fn.complete_info({ 'items' }).items[1].word")
    editor.keys("\x19")
    editor.watch(0.3)
    line = text.split("\n")[-1]
    completed = editor.lua("vim.api.nvim_get_current_line()")
    assert completed.startswith(line)
    assert completed.strip().endswith(word.split("\n")[-1].strip())
    assert len(completed) > len(line)


def test_pausing_in_a_file_and_everywhere(start: Open) -> None:
    editor = start(HEADER)
    text, suggestion = a_line(editor)
    assert suggestion
    for scope in ("", " buffer"):
        editor.keys(f"\x1b:CodegenLsp pause{scope}\r")
        editor.until(lambda frame: "suggestions are paused" in frame.text, "it says so", 10)
        editor.keys("\r")
        if not scope:
            editor.until(lambda frame: status(frame) == "paused", "the status says so", 10)
        start_of = len(editor.frames)
        replace(editor, text[:-1])
        editor.keys("A" + text[-1])
        editor.watch(2)
        assert not any(frame.ghost for frame in editor.frames[start_of:])
        editor.keys(f"\x1b:CodegenLsp pause{scope}\r")
        editor.until(lambda frame: "suggestions are on" in frame.text, "it says so", 10)
        editor.keys("\r")
        editor.until(lambda frame: status(frame).startswith("nano"), "the status says so", 10)
        replace(editor, text[:-1])
        editor.keys("A" + text[-1])
        assert settled(editor, 20)


def test_the_page_about_the_last_request(start: Open) -> None:
    editor = start(HEADER, size=(60, 140))
    text, suggestion = a_line(editor)
    editor.keys("\x1b:CodegenLsp last\r")
    editor.until(lambda frame: "Last request" in frame.text, "the page", 10)
    page = "\n".join(editor.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)"))
    for part in (
        "inlineCompletion, automatic",
        "shapes.py line",
        "Model nano",
        "Milliseconds:",
        "prefill",
        "shown, score",
    ):
        assert part in page
    assert page.endswith(text)
    assert suggestion in page
    groups = editor.lua(
        "vim.tbl_map(function(mark) return mark[4].hl_group end,"
        " vim.api.nvim_buf_get_extmarks(0, -1, 0, -1, { details = true }))"
    )
    assert {"CodegenLspCached"} < set(groups) & {
        "CodegenLspCached",
        "CodegenLspUnlikely",
        "CodegenLspDoubtful",
        "CodegenLspLikely",
        "CodegenLspSure",
    }
    editor.keys("q")
    editor.until(lambda frame: "Last request" not in frame.text, "it is closed", 5)


def test_surprise_is_coloured_and_its_lines_are_listed(start: Open) -> None:
    text = HEADER + "    def zebra(self):\n        return qqzz[::-7] @ 'ÿ😀' ** self.radius\n"
    editor = start(text)
    editor.keys(":CodegenLsp surprise\r")
    editor.until(lambda frame: "bits per token: " in frame.text, "the list of lines", LONG)
    groups = editor.lua(
        "vim.tbl_map(function(mark) return mark[4].hl_group end, vim.api.nvim_buf_get_extmarks(0,"
        " vim.api.nvim_get_namespaces()['codegen_lsp.surprise'], 0, -1, { details = true }))"
    )
    assert len(set(groups)) > 1
    numbers = [item["lnum"] for item in editor.lua("vim.fn.getloclist(0)")]
    assert len(set(numbers)) == len(numbers) > 1
    assert all(text.split("\n")[number - 1].strip() for number in numbers)
    editor.keys("x")
    editor.until(lambda frame: "bits per token: " not in frame.text, "a change closes the list", 10)


def test_a_killed_engine_comes_back_and_suggests_again(start: Open, runtime: Path) -> None:
    editor = start(HEADER)
    text, _ = a_line(editor)
    (engine,) = engines_in(runtime)
    engine.kill()
    engine.wait(20)
    replace(editor, text[:-1])
    editor.keys("A" + text[-1])
    editor.until(
        lambda frame: not status(frame).startswith("nano") or bool(frame.ghost), "it was noticed", 30
    )

    def suggests(frame: ScreenFrame) -> bool:
        if frame.ghost:
            return True
        if status(frame) == "nano":
            editor.keys("\x7f" + text[-1])
            editor.watch(2)
        return bool(editor.frame.ghost)

    editor.until(suggests, "ghost text after the engine was killed", LONG)
    # A cached suggestion may be shown before there is another engine.
    editor.until(lambda _: bool(engines_in(runtime)), "another engine", LONG)
    (another,) = engines_in(runtime)
    assert another.pid != engine.pid


def test_a_killed_server_is_cleaned_up_and_can_be_restarted(start: Open) -> None:
    editor = start(HEADER)
    text, _ = a_line(editor)
    command = editor.lua("vim.fn.getpid()")
    (server,) = [p for p in psutil.Process(command).children() if "codegen_lsp" in " ".join(p.cmdline())]
    server.kill()
    editor.until(lambda frame: "quit with exit code" in frame.text, "it is noticed", 20)
    editor.keys("\r")
    editor.until(lambda frame: not frame.ghost and status(frame).endswith("[+]"), "nothing is left", 20)
    assert editor.lua("vim.fn.maparg('<M-l>', 'i')") == ""
    editor.keys("\x1b:CodegenLsp restart\r")
    editor.until(lambda frame: status(frame).startswith("nano"), "the server is back", LONG)
    replace(editor, text[:-1])
    editor.keys("A" + text[-1])
    assert settled(editor, 20)


def test_status_restart_and_health(start: Open, runtime: Path) -> None:
    editor = start(HEADER)
    editor.keys(":CodegenLsp status\r")
    editor.until(lambda frame: "model: nano" in frame.text and "ready" in frame.text, "the status", 10)
    editor.keys("\r")
    (engine,) = engines_in(runtime)
    editor.keys(":CodegenLsp restart\r")
    editor.until(lambda frame: not engine.is_running(), "the engine has exited", 30)
    editor.until(lambda frame: status(frame).startswith("nano"), "another is ready", LONG)
    assert [other.pid for other in engines_in(runtime)] != [engine.pid]
    editor.keys("\r:checkhealth codegen_lsp\r")
    editor.until(lambda frame: "server 1 is running" in frame.text, "the report", 40)
    report = "\n".join(editor.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)"))
    assert "model nano, ready" in report
    assert "codegen-lsp" in report
    assert "ERROR" not in report
    assert "WARNING" not in report


def test_choosing_a_missing_model_and_nano_again(start: Open, tmp_path: Path) -> None:
    editor = start(HEADER)
    assert editor.lua("vim.fn.getcompletion('CodegenLsp model 350M-', 'cmdline')") == [
        "350M-mono",
        "350M-multi",
        "350M-nl",
    ]
    editor.keys(f":CodegenLsp model {tmp_path}/nothing\r")
    editor.watch(0.5)
    editor.keys("\r")
    editor.until(lambda frame: "error" in status(frame), "the status says so", LONG)
    editor.keys("\r:CodegenLsp status\r")
    editor.until(lambda frame: "error:" in frame.text and "nothing" in frame.text, "the reason", 10)
    editor.keys("\r:CodegenLsp model nano\r")
    editor.watch(0.5)
    editor.keys("\r")
    editor.until(lambda frame: status(frame).startswith("nano"), "nano is back", LONG)


def test_loading_is_reported_as_progress(start: Open, runtime: Path) -> None:
    stop_engines(runtime)
    record = (
        "_G.seen = {} vim.api.nvim_create_autocmd('LspProgress', { callback = function(event)"
        " table.insert(seen, vim.fs.basename(event.match)) end })"
        " vim.api.nvim_create_autocmd('User', { pattern = 'CodegenLspStatus', callback = function(event)"
        " table.insert(seen, event.data.state) end })"
    )
    editor = start(HEADER, before=record)
    editor.watch(0.5)
    events = editor.lua("seen")
    assert "loading" in events
    assert "ready" in events
    assert events.index("begin") < events.index("end")


def suggested_at(editor: Editor, before: str, endings: Sequence[str], *, back: str = "") -> str:
    """Try the endings until there is a suggestion after one, and return the text up to that.

    `back` are keys that move the cursor back from the end of the text. A blank is typed and deleted, which makes the
    editor request a suggestion.
    """
    for ending in endings:
        replace(editor, before + ending)
        editor.keys("A" + back)
        editor.type(" \x7f", pause=0.3)
        if settled(editor, 15):
            return before + ending
    raise AssertionError(f"no suggestion after any of {endings}\n{editor.frame.text}")


def accepted(editor: Editor) -> tuple[str, int]:
    """Accept the suggestion; return the cursor's line as the screen showed it before, and its number."""
    suggestion = editor.frame.suggestion
    line = editor.frame.lines[editor.frame.cursor[0]]
    row = editor.lua("vim.fn.line('.')")
    editor.keys(ALT + "l")
    editor.until(lambda frame: frame.suggestion != suggestion, "accepted", 5)
    return line, row


PLACES = (
    ("emoji", ('label = "😀🎉é"; other = ', 'label = "😀🎉é"; self.', 'if "😀🎉é" in self.'), ""),
    ("brackets", ("print()", "self.radius = max()", "return math.sqrt()"), "\x1b[D"),
    ("quotes", ("value = self['']", "raise ValueError('')", "print('')"), "\x1b[D\x1b[D"),
    ("tab", ("\tif self.radius > ", "\treturn ", "\tself."), ""),
)


@pytest.mark.parametrize(("name", "endings", "back"), PLACES, ids=[place[0] for place in PLACES])
def test_nothing_is_doubled_or_shifted(start: Open, name: str, endings: Sequence[str], back: str) -> None:
    before = HEADER + f"    def {name}(self, point):\n        "
    editor = start(before, before="vim.g.python_recommended_style = 0" if name == "tab" else "")
    text = suggested_at(editor, before, endings, back=back)
    line_shown, row = accepted(editor)
    written = saved(editor).decode().split("\n")
    assert written[row - 1].expandtabs(8) == line_shown
    assert written[: row - 1] == text.split("\n")[: row - 1]


def test_crlf_stays_crlf(start: Open) -> None:
    before = HEADER + "    def contains(self, point):\n        "
    editor = start(before.replace("\n", "\r\n").encode())
    suggested_at(editor, before, ("return ", "self.", "if "))
    line_shown, _ = accepted(editor)
    written = saved(editor)
    assert written.count(b"\n") == written.count(b"\r\n") == written.count(b"\r")
    assert written.replace(b"\r\n", b"\n").decode().startswith(HEADER + "    def contains(self, point):\n")
    assert line_shown in written.decode().split("\r\n")


def test_an_edit_above_moves_the_suggestion(start: Open) -> None:
    editor = start(HEADER)
    text, suggestion = a_line(editor)
    editor.lua("vim.api.nvim_buf_set_lines(0, 2, 3, false, { 'import math', 'import cmath', 'import os' })")
    editor.until(
        lambda frame: frame.suggestion == suggestion and "import cmath" in frame.text, "it moved along", 10
    )
    editor.keys(ALT + "l")
    editor.watch(0.3)
    expected = text.replace("import math\n", "import math\nimport cmath\nimport os\n") + suggestion + "\n"
    assert saved(editor) == expected.encode()


def test_only_the_engine_keeps_running(start: Open, runtime: Path) -> None:
    editor = start(HEADER)
    (server,) = editor.lua(
        "vim.tbl_map(function(c) return c.id end, vim.lsp.get_clients({ name = 'codegen_lsp' }))"
    )
    assert server == 1
    editor.close()
    assert len(engines_in(runtime)) == 1  # the engine stays for the next window
    stop_engines(runtime)
    assert engines_in(runtime) == []
