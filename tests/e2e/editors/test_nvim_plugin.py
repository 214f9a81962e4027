"""The plugin in a real Neovim on a real screen, with a fake server whose answers a test dictates.

These tests depend on a certain suggestion at a certain moment: late answers, brackets that are closed
automatically, tabs, emoji, line endings. `test_nvim.py` has the real server.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("drives a real Neovim; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors import install_nvim
from e2e.editors.cache import EditorUnavailableError
from e2e.editors.nvim_screen import Editor

pytestmark = [pytest.mark.e2e, pytest.mark.editor]

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "editors" / "nvim"
ALT = "\x1b"

Open = Callable[..., Editor]


@pytest.fixture(scope="module", params=list(install_nvim.SUITES))
def nvim(request: pytest.FixtureRequest) -> Path:
    try:
        return install_nvim.install(request.param)
    except EditorUnavailableError as error:
        pytest.skip(f"Neovim {request.param} can't be installed here: {error}")


@pytest.fixture
def start(nvim: Path, tmp_path: Path) -> Iterator[Open]:
    """Open a file with this text and attach the fake server; the cursor is at the end of the last line."""
    editors: list[Editor] = []

    def start(text: str, *, name: str = "a.py", options: str = "{}", before: str = "") -> Editor:
        file = tmp_path / name
        file.write_bytes(text.encode())
        script = tmp_path / "test.lua"
        script.write_text(f"{before}\nvim.g.test_options = {options}\ndofile('{HERE / 'nvim_fake.lua'}')\n")
        environment = {"CODEGEN_NVIM_PLUGIN": str(PLUGIN), "CODEGEN_NVIM_TEST": str(script)}
        editor = Editor(nvim, ["-u", str(HERE / "nvim_init.lua"), str(file)], tmp_path, environment, (16, 80))
        editors.append(editor)
        editor.until(lambda frame: "starting" in frame.text, "the client attached")
        editor.keys("G$")
        return editor

    yield start
    for editor in editors:
        editor.close()


def shows(editor: Editor, suggestion: str) -> None:
    editor.until(lambda frame: frame.suggestion == suggestion, f"ghost text {suggestion!r}", 5)


def saved(editor: Editor, name: str = "a.py") -> bytes:
    editor.keys("\x1b:write\r")
    editor.until(lambda frame: "written" in frame.text, "the file was written", 5)
    return (editor.folder / name).read_bytes()


def offer(editor: Editor, *texts: str, tail: int = 0, col: int | None = None) -> None:
    editor.lua("fake.offer(...)", list(texts), tail, *([] if col is None else [col]))


def offered(
    start: Open, text: str, *offers: str, keys: str = "A", shown: str = "", tail: int = 0, **options: str
) -> Editor:
    """Open a text, let the server offer suggestions, press `keys`, and wait until the first one is `shown`."""
    editor = start(text, **options)
    offer(editor, *offers, tail=tail)
    editor.keys(keys)
    shows(editor, shown or offers[0])
    return editor


def test_typing_through_shrinks_the_suggestion_in_each_frame(start: Open) -> None:
    editor = offered(start, "total = ", "sum(values) / n")
    frames = editor.type("sum(val", pause=0.12)
    suggestions = [frame.suggestion for frame in frames]
    remainders = ["sum(values) / n"[n:] for n in range(8)]
    assert all(suggestion in remainders for suggestion in suggestions)
    assert suggestions == sorted(suggestions, key=len, reverse=True)
    shows(editor, "ues) / n")
    start_of = len(editor.frames)
    editor.watch(0.5)  # the server's answer for the new position must not change what is shown
    assert {frame.suggestion for frame in editor.frames[start_of:]} <= {"ues) / n"}


def test_a_character_that_does_not_fit_hides_the_suggestion_in_the_same_frame(start: Open) -> None:
    editor = offered(start, "total = ", "sum(values)")
    editor.type("su")
    frames = editor.type("x", pause=0.1)
    assert [frame.suggestion for frame in frames if "= sux" in frame.text] == [""] * len(frames)
    editor.keys("\x7f")
    shows(editor, "m(values)")


def test_accepting_right_after_typing_doubles_nothing(start: Open) -> None:
    editor = offered(start, "total = ", "sum(values)")
    editor.keys("sum(" + ALT + "l")
    editor.until(lambda frame: "total = sum(values)" in frame.text and not frame.ghost, "accepted", 5)
    assert saved(editor) == b"total = sum(values)\n"
    assert editor.lua("fake.accepted") == ["1"]


def test_accepting_words_and_lines(start: Open) -> None:
    editor = offered(
        start,
        "def f(values):\n    return ",
        "sum(values) / len(values)\n\n\ndef g():\n    pass",
        shown="sum(values) / len(values)\ndef g():\n    pass",
    )
    for remainder in ("(values) / len(values)", "values) / len(values)", ") / len(values)"):
        editor.keys(ALT + "w")
        shows(editor, remainder + "\ndef g():\n    pass")
    start_of = len(editor.frames)
    editor.keys(ALT + "j")
    shows(editor, "def g():\n    pass")
    assert all(frame.ghost for frame in editor.frames[start_of:])
    assert editor.lua("vim.fn.getline(2)") == "    return sum(values) / len(values)"
    editor.keys(ALT + "j" + ALT + "w")
    editor.until(lambda frame: "def g():" in frame.text and not frame.ghost, "all is accepted", 5)
    expected = b"def f(values):\n    return sum(values) / len(values)\n\n\ndef g():\n    pass\n"
    assert saved(editor) == expected
    kinds = [method for method, _ in editor.lua("fake.notified")]
    assert kinds.count("textDocument/didShowCompletion") >= 1
    assert kinds.count("textDocument/didPartiallyAcceptCompletion") == 5


def test_one_undo_removes_what_was_accepted_and_no_more(start: Open) -> None:
    editor = start("")
    offer(editor, "y = 1")
    editor.keys("A")
    editor.type("x = 0\r", pause=0.05)
    offer(editor, "y = 1")
    editor.type("y", pause=0.4)
    shows(editor, " = 1")
    editor.keys(ALT + "l")
    editor.until(lambda frame: "y = 1" in frame.text and not frame.ghost, "accepted", 5)
    editor.keys("\x1bu")
    editor.watch(0.2)
    assert editor.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)") == ["x = 0", "y"]


def test_the_chosen_suggestion_is_kept_while_typing(start: Open) -> None:
    editor = offered(start, "x = ", "first(1)", "fast(2)", "other")
    editor.keys(ALT + "n")
    shows(editor, "fast(2)")
    assert "(2/3)" in editor.frame.text
    editor.type("f", pause=0.5)
    shows(editor, "ast(2)")
    assert "(2/2)" in editor.frame.text
    editor.keys(ALT + "p")
    shows(editor, "irst(1)")
    editor.keys(ALT + "p")
    shows(editor, "ast(2)")
    editor.keys(ALT + "l")
    assert saved(editor) == b"x = fast(2)\n"
    assert editor.lua("fake.accepted") == ["2"]


def test_a_dismissed_suggestion_stays_away_until_something_is_typed(start: Open) -> None:
    editor = offered(start, "x = ", "first(1)")
    editor.keys("\x1d")
    editor.until(lambda frame: not frame.ghost, "it is hidden", 5)
    start_of = len(editor.frames)
    editor.lua("vim.cmd('doautocmd CursorMovedI')")
    editor.watch(0.6)
    assert not any(frame.ghost for frame in editor.frames[start_of:])
    editor.keys("f")
    shows(editor, "irst(1)")


def test_a_late_answer_does_not_show_what_no_longer_fits(start: Open) -> None:
    editor = start("x = ")
    editor.lua("(function() fake.delay = 500 return true end)()")
    offer(editor, "first(1)")
    editor.keys("A")
    editor.watch(0.35)
    editor.type("f", pause=0.01)
    shows(editor, "irst(1)")
    editor.type("zz", pause=0.01)
    editor.watch(1.2)
    assert not editor.frame.ghost
    assert not any(frame.ghost for frame in editor.frames if "fz" in frame.text)


def test_leaving_insert_mode_hides_the_suggestion(start: Open) -> None:
    editor = offered(start, "x = ", "first(1)")
    editor.keys("\x1b")
    editor.until(lambda frame: not frame.ghost, "it is hidden", 5)


def test_an_auto_closed_bracket_is_not_doubled(start: Open) -> None:
    editor = offered(start, "print()", "a, b)", keys="i", shown="a, b", tail=1)
    assert "print(a, b)" in editor.frame.text
    editor.type("a, ", pause=0.05)
    shows(editor, "b")
    editor.keys(ALT + "l")
    editor.watch(0.1)
    editor.keys(";")
    assert saved(editor) == b"print(a, b);\n"


def test_a_suggestion_that_continues_after_the_bracket(start: Open) -> None:
    editor = offered(start, "def f()", "a, b):\n    return a + b", keys="i", tail=1)
    editor.keys(ALT + "w")
    shows(editor, ", b):\n    return a + b")
    editor.keys(ALT + "j")
    shows(editor, "    return a + b")
    assert editor.lua("vim.fn.getline(1)") == "def f(a, b):"
    editor.keys(ALT + "l")
    assert saved(editor) == b"def f(a, b):\n    return a + b\n"


def test_a_suggestion_that_begins_with_the_closed_quote(start: Open) -> None:
    editor = start("x = d['']")
    editor.lua('fake.offer({ "\'.join(y)", "\'\\n    + 1" }, 1, 7)')
    editor.keys("A\x1b[D\x1b[D")
    shows(editor, ".join(y)")
    assert "x = d[''.join(y)]" in editor.frame.lines[0]
    editor.keys(ALT + "l")
    assert saved(editor) == b"x = d[''.join(y)]\n"


PAIRS = """
vim.keymap.set('i', '(', '()<Left>')
vim.keymap.set('i', '"', '""<Left>')
vim.keymap.set('i', ')', function()
  return vim.api.nvim_get_current_line():sub(vim.fn.col('.'), vim.fn.col('.')) == ')' and '<Right>' or ')'
end, { expr = true })
"""


def test_typing_through_with_automatically_closed_brackets_and_quotes(start: Open) -> None:
    editor = offered(start, "x = ", 'open("a.txt", "r")', before=PAIRS)
    frames = editor.type('open("a', pause=0.1)
    assert all(frame.ghost for frame in frames)
    editor.keys(ALT + "l")
    assert saved(editor) == b'x = open("a.txt", "r")\n'


def test_an_emoji_before_the_cursor_shifts_nothing(start: Open) -> None:
    editor = offered(start, 'name = "😀é" + ', "greeting()")
    assert 'name = "😀é" + greeting()' in editor.frame.text.replace("😀 ", "😀")
    editor.type("greet", pause=0.1)
    editor.keys(ALT + "l")
    assert saved(editor) == 'name = "😀é" + greeting()\n'.encode()


def test_an_emoji_before_an_auto_closed_bracket(start: Open) -> None:
    editor = offered(start, 'print("😀", )', '"🎉")', keys="i", shown='"🎉"', tail=1)
    editor.keys(ALT + "l")
    assert saved(editor) == 'print("😀", "🎉")\n'.encode()


def test_tabs_are_written_as_tabs_and_drawn_as_spaces(start: Open) -> None:
    editor = start("def f():\n\tif x:", before="vim.g.python_recommended_style = 0")
    editor.lua("vim.cmd('setlocal tabstop=8 noexpandtab')")
    offer(editor, "\n\t\treturn 1\n\treturn 2")
    editor.keys("A")
    editor.until(lambda frame: len(frame.ghost) == 2, "two lines of ghost text", 5)
    rows = [line for line in editor.frame.lines if "return" in line]
    assert rows == [" " * 16 + "return 1", " " * 8 + "return 2"]
    editor.keys(ALT + "l")
    assert saved(editor) == b"def f():\n\tif x:\n\t\treturn 1\n\treturn 2\n"


def test_a_file_with_crlf_keeps_it(start: Open) -> None:
    editor = offered(start, "def f():\r\n    x = 1", "0\r\n    return x", shown="0\n    return x")
    assert "^M" not in editor.frame.text
    editor.keys(ALT + "l")
    assert saved(editor) == b"def f():\r\n    x = 10\r\n    return x\r\n"


def test_an_edit_above_moves_the_suggestion(start: Open) -> None:
    editor = offered(start, "import os\n\nx = ", "os.getcwd()")
    editor.lua(
        "(function() vim.api.nvim_buf_set_lines(0, 0, 1, false, { 'import os', 'import re', '' }) return 1 end)()"
    )
    editor.until(lambda frame: "x = os.getcwd()" in frame.lines[4], "it moved down with its line", 5)
    editor.keys("os" + ALT + "l")
    assert saved(editor) == b"import os\nimport re\n\n\nx = os.getcwd()\n"


def test_a_suggestion_is_typed_through_over_a_line_break(start: Open) -> None:
    editor = offered(start, "def f():", "\n    return 1", shown="    return 1")
    frames = editor.type("\rre", pause=0.15)
    assert all(frame.ghost for frame in frames)
    shows(editor, "turn 1")
    editor.keys(ALT + "l")
    assert saved(editor) == b"def f():\n    return 1\n"


def test_tab_is_not_mapped_by_default(start: Open) -> None:
    editor = start("x = ")
    assert editor.lua("vim.fn.maparg('<Tab>', 'i', false, true).buffer or 0") == 0
    offer(editor, "first(1)")
    editor.keys("A")
    shows(editor, "first(1)")
    editor.keys("\t")
    assert saved(editor) == b"x =     \n"


def test_a_mapped_tab_accepts_and_otherwise_runs_its_previous_mapping(start: Open) -> None:
    user = "vim.keymap.set('i', '<Tab>', function() return '<!>' end, { expr = true })"
    editor = start("x = ", options="{ keymaps = { accept = '<Tab>' } }", before=user)
    editor.keys("A\t")
    editor.until(lambda frame: "<!>" in frame.text, "the user's own mapping ran", 5)
    offer(editor, "1")
    editor.type(" ", pause=0.05)
    offer(editor, "first(1)")
    editor.type(" ")
    editor.keys("\x7f")
    shows(editor, "first(1)")
    editor.keys("\t")
    assert saved(editor) == b"x = <!> first(1)\n"


def test_no_keys_are_mapped_with_keymaps_false(start: Open) -> None:
    editor = offered(start, "x = ", "first(1)", options="{ keymaps = false }")
    maps = editor.lua("vim.tbl_map(function(map) return map.lhs end, vim.api.nvim_buf_get_keymap(0, 'i'))")
    assert maps in ([], {})
    editor.lua("require('codegen_lsp').accept()")
    assert saved(editor) == b"x = first(1)\n"


def test_a_requested_suggestion(start: Open) -> None:
    editor = start("x = ")
    editor.keys("A")
    editor.watch(0.5)
    assert not editor.frame.ghost
    offer(editor, "first(1)")
    editor.keys(ALT + "\\")
    shows(editor, "first(1)")
    assert editor.lua("fake.params.context.triggerKind") == 1
    assert editor.lua("fake.params.formattingOptions") == {"tabSize": 4, "insertSpaces": True}


def test_neovims_own_function_accepts_the_current_suggestion(start: Open, nvim: Path) -> None:
    if "forky" not in str(nvim):
        pytest.skip("vim.lsp.inline_completion requires Neovim 0.12")
    editor = start("x = ", before="vim.keymap.set('i', '<C-y>', vim.lsp.inline_completion.get)")
    assert editor.lua("vim.lsp.inline_completion.is_enabled({ bufnr = 0 })") is True
    offer(editor, "first(1)")
    editor.keys("A")
    shows(editor, "first(1)")
    editor.keys("fir\x19")
    editor.until(lambda frame: "x = first(1)" in frame.text and not frame.ghost, "accepted", 5)
    assert saved(editor) == b"x = first(1)\n"
    assert editor.lua("fake.accepted") == ["1"]


def test_wrong_options_are_reported_and_the_others_apply(start: Open) -> None:
    record = "_G.messages = {} vim.notify = function(text) table.insert(messages, text) end"
    editor = start("x = ", options="{ keymap = {}, ghost = 'yes', debounce = 10 }", before=record)
    messages = "\n".join(editor.lua("messages"))
    assert "unknown option `keymap`" in messages
    assert '`ghost` must be a boolean, not "yes"' in messages
    assert editor.lua("require('codegen_lsp.config').get().debounce") == 10
    assert editor.lua("require('codegen_lsp.config').get().ghost") is True


def test_the_help_has_its_tags(start: Open, tmp_path: Path) -> None:
    copy = tmp_path / "plugin"
    shutil.copytree(PLUGIN, copy)
    editor = start("x = ", before=f"vim.opt.runtimepath:prepend('{copy}') vim.cmd('helptags {copy / 'doc'}')")
    for tag in (
        "codegen-lsp",
        "codegen-lsp-options",
        "codegen-lsp-functions",
        ":CodegenLsp",
        "codegen-lsp-keys",
    ):
        assert editor.lua("vim.fn.getcompletion(..., 'help')", tag)[0] == tag
    editor.keys(":help codegen-lsp\r")
    editor.until(lambda frame: "codegen-lsp.txt" in frame.text, "the help opened", 5)


def test_the_help_describes_every_option_key_and_command(start: Open) -> None:
    editor = start("x = ")
    text = (PLUGIN / "doc" / "codegen-lsp.txt").read_text()
    config = "require('codegen_lsp.config').get()"
    names = editor.lua(f"vim.list_extend(vim.tbl_keys({config}), vim.tbl_keys({config}.keymaps))")
    assert [name for name in names if f"`{name}`" not in text and f"*codegen_lsp.{name}()*" not in text] == []
    commands = editor.lua("require('codegen_lsp.commands').complete('', 'CodegenLsp ')")
    assert commands == ["last", "log", "model", "pause", "restart", "status", "surprise"]
    assert [name for name in commands if f":CodegenLsp {name}" not in text] == []


SURPRISE = {
    "version": 1,
    "reason": None,
    "message": "",
    "totals": {"tokens": 4, "bits": 20.0, "bitsPerToken": 5.0, "bitsPerByte": 1.5, "perplexity": 32.0},
    "lines": [
        {"line": 1, "bits": 13.5, "bitsPerToken": 13.5, "tokens": 1, "text": "y = zebra"},
        {"line": 0, "bits": 6.5, "bitsPerToken": 2.17, "tokens": 3, "text": "s = '😀' + t"},
    ],
    "tokens": [
        {"range": {"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 7}}, "bits": 4.0},
        {"range": {"start": {"line": 0, "character": 11}, "end": {"line": 0, "character": 12}}, "bits": 0.5},
        {"range": {"start": {"line": 0, "character": 12}, "end": {"line": 1, "character": 0}}, "bits": 2.0},
        {"range": {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 9}}, "bits": 13.5},
        {"range": {"start": {"line": 1, "character": 9}, "end": {"line": 2, "character": 0}}, "bits": 9.0},
    ],
}
SURPRISING = "s = '😀' + t\ny = zebra\n"
MARKS = (
    "vim.tbl_map(function(m) return { m[2], m[3], m[4].end_row, m[4].end_col, m[4].hl_group } end,"
    " vim.api.nvim_buf_get_extmarks(vim.fn.bufnr('a.py'),"
    " vim.api.nvim_get_namespaces()['codegen_lsp.surprise'] or -1, 0, -1, { details = true }))"
)


def surprised(editor: Editor) -> None:
    """Show the surprise that the fake server reports."""
    editor.lua("(function(answer) fake.surprise = answer return 0 end)(...)", SURPRISE)
    editor.keys("\x1b:CodegenLsp surprise\r")
    editor.until(lambda frame: "13.5 bits per token: y = zebra" in frame.text, "the list", 10)


def test_surprise_is_coloured_and_listed_and_hidden_the_second_time(start: Open) -> None:
    editor = start(SURPRISING)
    surprised(editor)
    assert editor.lua("fake.measured[1].uri").endswith("/a.py")
    assert editor.lua(MARKS) == [
        [0, 5, 0, 9, "CodegenLspSurprise2"],
        [0, 14, 1, 0, "CodegenLspSurprise1"],
        [1, 4, 1, 9, "CodegenLspSurprise4"],
        [1, 9, 2, 0, "CodegenLspSurprise3"],
    ]
    background = editor.lua("vim.api.nvim_get_hl(0, { name = 'CodegenLspSurprise4' }).bg")
    assert any(cell.bg == f"{background:06x}" for cell in editor.screen.buffer[1].values())
    assert "1.500 bits per byte" in editor.lua("vim.fn.getloclist(0, { title = 1 }).title")
    assert editor.lua("vim.fn.expand('%:t')") == "a.py"  # The cursor stays where it was.
    assert [item["lnum"] for item in editor.lua("vim.fn.getloclist(0)")] == [2, 1]
    editor.keys("gg:lfirst\r")
    editor.until(lambda _: editor.lua("vim.fn.line('.')") == 2, "the most surprising line", 10)
    editor.keys(":CodegenLsp surprise\r")
    editor.until(lambda frame: "bits per token" not in frame.text, "the list is closed", 10)
    assert editor.lua(MARKS) == []


def test_a_change_hides_surprise(start: Open) -> None:
    editor = start(SURPRISING)
    surprised(editor)
    editor.keys("ggA")
    editor.type("x")
    editor.until(lambda frame: "bits per token" not in frame.text, "the list is closed", 10)
    assert editor.lua(MARKS) == []


def test_surprise_of_a_changed_text_and_an_empty_answer_are_not_shown(start: Open) -> None:
    editor = start(SURPRISING)
    editor.lua("(function(answer) fake.surprise, fake.delay = answer, 1500 return 0 end)(...)", SURPRISE)
    editor.keys("\x1b:CodegenLsp surprise\r")
    editor.watch(0.1)
    editor.keys("ggAx\x1b")
    editor.until(lambda frame: "the text changed during the measurement" in frame.text, "it says so", 10)
    assert editor.lua(MARKS) == []
    answer = {"reason": "nothing-to-go-on", "message": "The document is empty.", "tokens": [], "lines": []}
    editor.lua("(function(answer) fake.surprise, fake.delay = answer, 20 return 0 end)(...)", answer)
    editor.keys("\r:CodegenLsp surprise\r")
    editor.until(lambda frame: "The document is empty." in frame.text, "the reason", 10)
    assert editor.lua(MARKS) == []


CACHED = [
    pytest.param({"cachedCharacters": 6}, "s = '😀", "(shaded)", id="reported"),
    pytest.param({"cachedCharacters": None}, "s = '😀", "(about the shaded part)", id="estimated"),
]


@pytest.mark.parametrize(("characters", "shaded", "label"), CACHED)
def test_the_cached_part_of_a_prompt_is_shaded(
    start: Open, characters: dict[str, object], shaded: str, label: str
) -> None:
    editor = start(SURPRISING)
    prompt = {"text": "s = '😀' + t\n", "tokens": 2, "cachedTokens": 1, **characters}
    record = {"method": "inlineCompletion", "trigger": "automatic", "prompt": prompt, "candidates": []}
    editor.lua("(function(answer) fake.last = answer return 0 end)(...)", record)
    editor.keys(":CodegenLsp last\r")
    editor.until(lambda frame: "Prompt" in frame.text, "the page", 10)
    assert label in "\n".join(editor.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)"))
    (mark,) = editor.lua(
        "vim.tbl_filter(function(m) return m[4].hl_group == 'CodegenLspCached' end,"
        " vim.api.nvim_buf_get_extmarks(0, -1, 0, -1, { details = true }))"
    )
    line = editor.lua("vim.api.nvim_buf_get_lines(0, ...)", mark[1], mark[1] + 1, True)[0]
    assert line.encode()[mark[2] : mark[3]["end_col"]].decode() == shaded


def test_a_project_chooses_neither_the_server_nor_the_model(start: Open) -> None:
    """Plugins put a project's settings from a file such as `.vscode/settings.json` into `client.settings`."""
    editor = start("def f():", options="{ settings = { server = 'http://mine', token = 'secret' } }")
    answer = editor.lua(
        """(function()
          local client = vim.lsp.get_clients({ name = 'codegen_lsp' })[1]
          local theirs = { server = 'http://theirs', token = 'x', model = '/m', allowPickle = true, candidates = 7 }
          client.settings = { codegen = theirs }
          local params = { items = { { section = 'codegen' } } }
          return client.handlers['workspace/configuration'](nil, params, { client_id = client.id })[1]
        end)()"""
    )
    assert answer == {"server": "http://mine", "token": "secret", "workspaceSettings": {"candidates": 7}}
