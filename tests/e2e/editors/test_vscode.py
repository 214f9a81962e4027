"""VS Code with the real server, the real engine and nano: what is on the screen and in the file.

One window serves all tests, in the order of the file, because a workbench takes half a minute to start. It opens in
restricted mode, as VS Code opens a folder that is not trusted; the last test trusts the folder, which chooses no
program even then.

No test depends on what nano writes: each reads the suggestion from the screen, and compares the file with it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.engines import engines_in

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("drives a real VS Code; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors import install_vscode, shapes, vscode_python
from e2e.editors.cache import EditorUnavailableError
from e2e.editors.vscode_driver import EditorWindow, browser, code_server, open_window, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.editor, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "editors" / "pictures" / "vscode.png"

SETTINGS = {
    "codegen-lsp.serverPath": sys.executable,
    "codegen.minConfidence": 0,
    "codegen.candidates": 4,
    "codegen.maxTokensLine": 24,
    "codegen.maxTokensBlock": 64,
}
"""Show everything that nano writes: these tests are not about its quality."""

POINT = '''\
class Point:
    """A point with two coordinates."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def distance(self, other):
        """The distance to another point."""
        return math.hypot(self.x - other.x, self.y - other.y)


'''
HEADER = shapes.OPENING + POINT + shapes.CIRCLE

BLOCKS = tuple((f"    def {signature}", ":\n        ") for signature in shapes.SIGNATURES)
"""The end of a file, and the text typed there, to get a block; the editor indents the new line."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose settings choose a program, which writes a file when it is run."""
    folder = tmp_path_factory.mktemp("planted") / "shapes"
    program = folder / "tools" / "codegen-lsp"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/was-run"\nexec "{sys.executable}" -m codegen_lsp "$@"\n'
    )
    program.chmod(0o755)
    (folder / ".vscode").mkdir()
    (folder / ".vscode" / "settings.json").write_text(f'{{"codegen-lsp.serverPath": "{program}"}}')
    return folder


@pytest.fixture(scope="module")
def selected_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the path of the selected interpreter; it doesn't exist at first."""
    return tmp_path_factory.mktemp("selected") / "python"


@pytest.fixture(scope="module")
def window(
    tmp_path_factory: pytest.TempPathFactory, runtime: Path, planted: Path, selected_python: Path
) -> Iterator[EditorWindow]:
    try:
        editor, vsix = install_vscode.install(), install_vscode.package_extension()
    except EditorUnavailableError as reason:
        pytest.skip(f"no VS Code: {reason}")
    home = tmp_path_factory.mktemp("vscode")
    environment = {
        "CODEGEN_LSP_RUNTIME_DIR": str(runtime),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        vscode_python.FILE_VARIABLE: str(selected_python),
    }
    extensions = [vsix, vscode_python.build(home / "python.vsix")]
    with (
        code_server(editor, extensions, home, SETTINGS, environment) as (address, settings_file),
        browser(editor) as chromium,
    ):
        yield open_window(chromium, address, planted, settings_file)


@pytest.fixture(autouse=True)
def evidence(request: pytest.FixtureRequest, window: EditorWindow, tmp_path: Path) -> Iterator[None]:
    """Take a picture of the window after a failed test, and reset the window after every test."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        picture = tmp_path / "screen.png"
        window.page.screenshot(path=picture)
        print(f"the screen: {picture}\nthe status: {window.status()}: {window.tooltip()}")
    window.reset()


@dataclass(frozen=True)
class GhostText:
    """A suggestion on the screen."""

    path: Path
    before: str
    """The document up to the cursor, with the line endings of the file."""
    after: str
    ghost: str
    line: int
    """The 0-based line of the cursor."""


def suggestion(
    window: EditorWindow,
    name: str,
    wanted: Callable[[str], Any] = bool,
    *,
    texts: Sequence[tuple[str, str]] = shapes.LINES,
    convert: Callable[[str], str] = lambda text: text,
) -> GhostText:
    """Type the texts one after the other until a suggestion is `wanted`, and return it."""
    rejected = []
    for number, (beginning, typed) in enumerate(texts):
        start = convert(HEADER + beginning)
        line = start.count("\n") + 1
        path = window.open(f"{number}_{name}", start + convert("\n"), line=line)
        window.press("End")
        window.type(typed.rstrip() if "\n" in typed else typed)
        if "\n" in typed:
            window.press("Enter")
        ghost = window.settled_ghost()
        if wanted(ghost):
            before = convert(HEADER + beginning + typed) if "\n" in typed else start + typed
            return GhostText(path, before, convert("\n"), ghost, before.count("\n"))
        rejected.append(ghost)
        window.reset()
    raise AssertionError(f"no suggestion was as wanted: {rejected}")


def is_long(ghost: str) -> bool:
    return len(ghost.strip()) >= 8


def is_block(ghost: str) -> bool:
    return "\n" in ghost.strip()


def accepted(window: EditorWindow, shown: GhostText) -> bytes:
    """Accept the suggestion, and return the content of the file afterwards."""
    window.press("Tab")
    return window.save(shown.path)


def between(shown: GhostText, whole: bytes) -> str:
    """Return what was inserted between the text before the cursor and the text after it."""
    before, after = shown.before.encode(), shown.after.encode()
    assert whole.startswith(before)
    assert whole.endswith(after)
    return whole[len(before) : len(whole) - len(after)].decode()


def test_an_untrusted_folder_does_not_choose_the_program(
    window: EditorWindow, planted: Path, runtime: Path
) -> None:
    window.open("first.py", HEADER, line=1)
    window.wait_for_status(r"ready, nano", seconds=180)
    assert not (planted / "was-run").exists()
    assert len(engines_in(runtime)) == 1


def test_ghost_text_shrinks_while_it_is_typed_and_never_flickers(window: EditorWindow) -> None:
    shown = suggestion(window, "typed_through.py", lambda ghost: re.match(r"[\w .]{4}", ghost))
    whole_line = window.line(shown.line)
    keys = re.match(r"[\w .]{4,8}", shown.ghost)
    assert keys is not None
    remainder = shown.ghost[len(keys[0]) :]
    with window.frames() as frames:
        window.type(keys[0])
        wait_until(lambda: window.ghost() == remainder, f"only {remainder!r} left")
    assert len(frames) > len(keys[0])
    lengths = [len(frame["ghost"]) for frame in frames]
    assert min(lengths) >= len(remainder), "there was a frame without the suggestion"
    assert lengths == sorted(lengths, reverse=True), "the suggestion grew again"
    for frame in frames:
        assert shown.ghost.endswith(frame["ghost"])
        assert frame["lines"][str(shown.line + 1)] == whole_line
    assert between(shown, accepted(window, shown)) == shown.ghost


def test_tab_accepts_all_of_it(window: EditorWindow) -> None:
    shown = suggestion(window, "accept_all.py", is_long)
    if os.environ.get("CODEGEN_LSP_PICTURES") == "1":
        window.take_picture(PICTURE)
    assert between(shown, accepted(window, shown)) == shown.ghost


def test_a_word_and_a_line_of_it(window: EditorWindow) -> None:
    shown = suggestion(window, "accept_parts.py", is_block, texts=BLOCKS)
    window.press("Control+ArrowRight")
    word = wait_until(lambda: between(shown, window.save(shown.path)), "a word in the file")
    assert re.fullmatch(r"\s*(\w+|[^\w\s]+)\s*", word), f"more than a word: {word!r}"
    assert shown.ghost.startswith(word)
    assert window.settled_ghost().strip() == shown.ghost[len(word) :].strip()

    window.press("Control+Alt+ArrowRight")
    text = wait_until(
        lambda: now if (now := between(shown, window.save(shown.path))) != word else "", "a line in the file"
    )
    assert shown.ghost.startswith(text.rstrip())
    assert shown.ghost[len(text.rstrip()) :].startswith("\n"), f"not up to the end of a line: {text!r}"
    assert text[len(word) :].strip().count("\n") == 0, f"more than a line: {text!r}"

    count = re.search(r"(\d+) partly accepted", window.last_request().inner_text())
    assert count is not None
    assert int(count[1]) >= 1


def test_other_candidates_are_a_key_away(window: EditorWindow) -> None:
    second = ""

    def has_another(ghost: str) -> bool:
        nonlocal second
        if ghost:
            window.press("Alt+BracketRight")
            second = window.settled_ghost(other_than=ghost)
        return second not in ("", ghost)

    shown = suggestion(window, "cycle.py", has_another)
    window.press("Alt+BracketLeft")
    wait_until(lambda: window.ghost() == shown.ghost, "the first candidate again")
    window.press("Alt+BracketRight")
    wait_until(lambda: window.ghost() == second, "the second candidate again")
    assert between(shown, accepted(window, shown)) == second


def test_the_completion_menu_offers_it_too(window: EditorWindow) -> None:
    window.configure(codegen__inline=False)
    try:
        start = HEADER + "    def scale(self, factor):\n        "
        path = window.open("menu.py", start, line=30, column=9)

        # The next text is typed if there is no entry after the one before.
        for typed in ("self.", "ra", "dius", " = ", "self."):
            window.type(typed)
            start += typed

            def offered() -> bool:
                window.press("Escape", "Control+Space")
                return bool(window.suggestions(5))

            if any(offered() for _ in range(3)):
                break
        else:
            raise AssertionError(f"no entry in the completion menu after {start!r}")
        (label, *_) = window.suggestions(5)
        assert window.ghost() == "", "the setting for ghost text is off"
        window.press("Enter")
        whole = window.save(path).decode()
        assert whole.startswith(start)
        assert len(whole) > len(start)
        assert "\n" not in label
    finally:
        window.configure(codegen__inline=None)


def test_pausing_in_a_file_and_everywhere(window: EditorWindow) -> None:
    shown = suggestion(window, "paused.py")
    window.press("Control+Alt+Backslash")
    window.wait_for_status(r"paused")
    wait_until(lambda: window.ghost() == "", "the suggestion gone")
    window.press("Alt+Backslash")
    page = window.last_request()
    wait_until(lambda: "Suggestions are paused." in page.inner_text(), "the reason on the page")
    assert "paused" in window.status()

    window.reset()
    again = suggestion(window, "not_paused.py")
    assert again.ghost, "other files are not paused"

    window.reset()
    window.open(shown.path.name, shown.before, line=1)
    window.wait_for_status(r"paused")
    window.menu("Resume in this file")
    window.wait_for_status(r"ready, nano")

    window.menu("Pause everywhere")
    window.wait_for_status(r"paused")
    window.menu("Resume everywhere")
    window.wait_for_status(r"ready, nano")


def test_the_page_about_the_last_request(window: EditorWindow) -> None:
    shown = suggestion(window, "account.py", is_long)
    page = window.last_request()
    assert "inlineCompletion" in page.inner_text()
    assert shown.path.name in page.inner_text()
    prompt = page.locator("#prompt pre").inner_text()
    assert prompt.rstrip().endswith(shown.before.rsplit("\n", 1)[-1].strip())
    assert page.locator("#prompt pre .cached").count() >= 1, (
        "what was read for the previous keystroke is cached"
    )
    candidates = page.locator("#candidates article")
    assert candidates.first.locator(".shown").count() == 1
    assert re.match(r"-?\d", candidates.first.locator(".score").inner_text())
    tokens = candidates.first.locator(".tokens span")
    colours = {token.evaluate("e => getComputedStyle(e).backgroundColor") for token in tokens.all()}
    assert tokens.count() >= 2
    assert colours - {"rgba(0, 0, 0, 0)"}, "probabilities show as colours"
    assert page.locator("#timings tr").count() >= 2


STUBS = (
    '    def diameter(self):\n        """Return the diameter: twice the radius."""\n',
    '    def scale(self, factor):\n        """Multiply the radius by a factor."""\n',
    '    def contains(self, point):\n        """Whether a point lies in the circle."""\n',
)


def test_a_body_is_written_from_a_docstring(window: EditorWindow) -> None:
    for number, stub in enumerate(STUBS):
        text = HEADER + stub + "        pass\n"
        path = window.open(f"body{number}.py", text, line=31, column=20)
        window.press("Control+Period")
        window.action("body").click()

        def done(path: Path = path, text: str = text) -> str:
            """Return the file with a body, or "nothing" if the server reports that there is none."""
            content = window.save(path).decode()
            message = window.page.locator(".notification-list-item", has_text="model wrote nothing")
            return content if content != text else "nothing" if message.count() else ""

        whole = wait_until(done, "a body")
        if whole != "nothing":
            break
        window.reset()
    else:
        raise AssertionError("no body was written for any of the docstrings")
    assert whole.startswith(HEADER + stub)
    body = whole[len(HEADER + stub) :]
    assert body.strip()
    assert all(line.startswith("        ") for line in body.splitlines() if line.strip())


def surprising_lines(window: EditorWindow) -> list[str]:
    """Return the entries of the list of lines; none if another list or no list is open."""
    rows = window.rows()
    return rows if rows and all("bits per token" in row for row in rows) else []


def test_surprise_is_coloured_and_its_lines_are_a_list_to_jump_from(window: EditorWindow) -> None:
    text = HEADER + "    def zebra(self):\n        return qqzz[::-7] @ 'ÿ😀' ** self.radius\n"
    window.open("surprise.py", text, line=1)
    window.wait_for_status(r"ready, nano")
    window.command("CodeGen: Show or Hide Surprise")
    entries = wait_until(lambda: surprising_lines(window), "the list of lines")
    assert all(re.search(r"line \d+, \d+\.\d bits per token", entry) for entry in entries)
    line = re.search(r"line (\d+),", entries[0])
    assert line is not None
    window.press("Enter")
    wait_until(lambda: f"Ln {line[1]}," in window.cursor(), "the cursor in the most surprising line")
    colours = window.surprise_colours()
    assert len(colours) > 1, "the colour grows with the surprise"
    window.command("CodeGen: Show or Hide Surprise")
    wait_until(lambda: not window.surprise_colours(), "the colours gone")

    window.command("CodeGen: Show or Hide Surprise")
    wait_until(lambda: surprising_lines(window), "the list of lines again")
    window.press("Escape")
    assert window.surprise_colours(), "the colours stay when the list is closed"
    window.type("x")
    wait_until(lambda: not window.surprise_colours(), "the colours gone with a change")


def test_tabs_stay_tabs(window: EditorWindow) -> None:
    def with_tabs(text: str) -> str:
        return re.sub(r"(?m)^(?: {4})+", lambda match: "\t" * (len(match[0]) // 4), text)

    shown = suggestion(window, "tabs.py", is_block, texts=BLOCKS, convert=with_tabs)
    text = between(shown, accepted(window, shown))
    assert [line.strip() for line in text.split("\n")] == [line.strip() for line in shown.ghost.split("\n")]
    for line in text.split("\n")[1:]:
        assert re.match(r"\t* {0,3}(\S|$)", line), f"not indented with tabs: {line!r}"


def test_crlf_stays_crlf(window: EditorWindow) -> None:
    shown = suggestion(
        window, "crlf.py", is_block, texts=BLOCKS, convert=lambda text: text.replace("\n", "\r\n")
    )
    text = between(shown, accepted(window, shown))
    assert text == shown.ghost.replace("\n", "\r\n")


def test_an_emoji_before_the_cursor_shifts_nothing(window: EditorWindow) -> None:
    def with_emoji(text: str) -> str:
        return re.sub(r"\n {8}$", '\n        mark = "🎉👩‍🚀é"; ', text)

    shown = suggestion(window, "emoji.py", is_long, convert=with_emoji)
    assert between(shown, accepted(window, shown)) == shown.ghost


def test_an_edit_above_shifts_nothing(window: EditorWindow) -> None:
    shown = suggestion(window, "above.py", is_long)
    window.press("Control+Home")
    window.type("import os")
    window.press("Enter")
    window.go_to(shown.line + 2, 1)
    window.press("End", "Alt+Backslash")
    ghost = wait_until(window.settled_ghost, "a suggestion again")
    assert accepted(window, shown).decode() == "import os\n" + shown.before + ghost + shown.after


def test_what_the_editor_closed_is_not_closed_twice(window: EditorWindow) -> None:
    start = HEADER + "    def scale(self, factor):\n        self.radius = "
    completed = []
    for opening in ("max(", "[", "{", 'getattr(self, "', "getattr(self, '", "max(self.values["):
        path = window.open(f"pair{len(completed)}.py", start + "\n", line=30, column=23)
        window.type(opening)
        window.press("Alt+Backslash")
        ghost = window.settled_ghost()
        line = window.save(path).decode()[len(start) :].split("\n")[0]
        assert len(line) > len(opening), "the editor closes what was opened"
        window.press("Tab")
        line = window.save(path).decode()[len(start) :].split("\n")[0]
        if ghost:
            completed.append(line)
            for pair in ("()", "[]", "{}"):
                assert line.count(pair[0]) == line.count(pair[1]), line
            assert line.count('"') % 2 == line.count("'") % 2 == 0, line
        window.reset()
    assert len(completed) >= 2, f"too few suggestions inside of brackets and quotes: {completed}"


def test_suggestions_come_back_after_the_engine_was_killed(window: EditorWindow, runtime: Path) -> None:
    (engine,) = engines_in(runtime)
    engine.kill()
    engine.wait(20)
    with window.statuses() as statuses:
        window.open("killed.py", HEADER, line=1)
        window.press("Control+End")

        def again() -> str:
            window.type("    def scale(self, factor):")
            window.press("Enter")
            window.type("self.")
            return window.settled_ghost(seconds=4)

        wait_until(again, "a suggestion")
        window.wait_for_status(r"ready, nano")
    assert any(re.search("starting|loading|error", status) for status in statuses), statuses
    (successor,) = engines_in(runtime)
    assert successor.pid != engine.pid


def test_a_missing_server_is_reported_with_buttons(window: EditorWindow) -> None:
    window.configure(codegen_lsp__serverPath="/nowhere/codegen-lsp")
    try:
        message = window.notification("serverPath is /nowhere/codegen-lsp")
        message.wait_for()
        window.wait_for_status(r"not running")
        assert any("Install the server" in entry for entry in window.menu())
        window.press("Escape")
        message.get_by_role("button", name="Open Settings").click()
        window.page.locator(".settings-editor").get_by_text("Server Path").first.wait_for()
    finally:
        window.configure(codegen_lsp__serverPath=SETTINGS["codegen-lsp.serverPath"])
    window.wait_for_status(r"ready, nano")


def test_the_selected_python_environment_provides_the_server(
    window: EditorWindow, selected_python: Path
) -> None:
    window.configure(codegen_lsp__serverPath=None)
    try:
        window.open("environment.py", HEADER, line=1)
        window.wait_for_status(r"not running")
        message = window.notification("codegen-lsp was not found on PATH or in the settings.")
        message.get_by_role("button", name="Select Interpreter").wait_for()
        selected_python.write_text(sys.executable)
        window.wait_for_status(r"ready, nano")
    finally:
        window.configure(codegen_lsp__serverPath=SETTINGS["codegen-lsp.serverPath"])
    window.wait_for_status(r"ready, nano")


def test_another_model_is_two_choices_away(window: EditorWindow) -> None:
    window.open("model.py", HEADER, line=1)
    window.menu("Choose model")
    entries = wait_until(lambda: rows if len(rows := window.rows()) > 12 else None, "the list of models")
    assert "nano" in entries[0]
    window.pick("350M-mono")
    # Downloads are forbidden here: the status has to be an error, and nano has to work again afterwards.
    window.wait_for_status(r"error", seconds=120)
    window.menu("Choose model")
    window.pick("nano")
    window.wait_for_status(r"ready, nano")


def test_a_trusted_folder_does_not_choose_the_program_either(window: EditorWindow, planted: Path) -> None:
    window.open("trusted.py", HEADER, line=1)
    window.command("Workspaces: Manage Workspace Trust")
    window.page.locator(".workspace-trust-editor").get_by_role("button", name="Trust", exact=True).click()
    window.press("Escape")
    window.wait_for_status(r"ready, nano")
    window.command("CodeGen: Restart the Language Server")
    window.wait_for_status(r"ready, nano", seconds=180)
    assert not (planted / "was-run").exists()
