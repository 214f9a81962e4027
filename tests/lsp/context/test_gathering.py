"""What other files say: golden workspaces per language, odd files, links, limits, and what is never opened."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.golden import CURSOR, FOLDER, site

from codegen_lsp.lsp.code import hints
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.context.files import BoundedReading, ReadingLimits, WorkspaceFiles
from codegen_lsp.lsp.context.gathering import gather
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.fitting.line_checks import checker_for
from codegen_lsp.lsp.names.known import ForeignNames, KnownNames
from codegen_lsp.lsp.names.values import Members, Value
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.others import FilePiece, OtherFiles, show
from codegen_lsp.lsp.prompts.prompt import Prompt, PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import TokenCounter
from codegen_lsp.lsp.suggest.generation import to_request, warming_request
from codegen_lsp.wire.fill.formats import FileText

COUNT = TokenCounter(lambda text: len(re.findall(r"\w+|\W", text)))
PATIENT: dict[str, Any] = {"seconds": 60, "wall_seconds": 600}
"""A busy machine takes longer than a person would wait."""
_CASE = re.compile(r"^=== (.*)\n", re.MULTILINE)
_PART = re.compile(r"^--- (file|binary|document|context) ?(.*)\n", re.MULTILINE)


def golden() -> Iterator[tuple[str, str]]:
    for path in sorted((FOLDER / "context").glob("*.txt")):
        parts = _CASE.split(path.read_text(encoding="utf-8"))
        yield from (
            (f"{path.stem}: {title}", body) for title, body in zip(parts[1::2], parts[2::2], strict=True)
        )


@pytest.mark.parametrize("body", [pytest.param(body, id=title) for title, body in golden()])
def test_golden(body: str, tmp_path: Path) -> None:
    head, *parts = _PART.split(body)
    options = dict(line.split(": ", 1) for line in head.splitlines() if line)
    marked, expected = "", ""
    for kind, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind == "file":
            write(tmp_path / name, text.replace("␍", "\r"))
        elif kind == "binary":
            (tmp_path / name).write_bytes(b"x = 1\n\0\n")
        elif kind == "document":
            marked, document = text, tmp_path / name
        else:
            expected = text
    text = marked.replace(CURSOR, "")
    write(document, text)
    files = WorkspaceFiles([str(tmp_path)], tuple(options.get("exclude", "").split()))
    language = options.get("language", "python")
    line = marked[: marked.index(CURSOR)].count("\n")
    others = gather(
        DocumentSnapshot(str(document), language, text, line),
        BoundedReading(files, limits=ReadingLimits(**PATIENT)),
    )
    budget = int(options.get("budget", 2000))
    assert show(others, budget, language, COUNT).text.rstrip("\n") == expected.rstrip("\n")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    return path


def others_of(
    document: Path,
    roots: Sequence[Path],
    *,
    exclude: Sequence[str] = (),
    similar: bool = False,
    **limits: float,
) -> OtherFiles:
    files = WorkspaceFiles([str(root) for root in roots], exclude)
    reading = BoundedReading(files, limits=ReadingLimits(**PATIENT | limits))  # type: ignore[arg-type]
    snapshot = DocumentSnapshot(str(document), "python", document.read_text(encoding="utf-8"))
    return gather(snapshot, reading, similar=similar)


def texts_of(others: OtherFiles) -> str:
    return "\n".join(text for piece in others.pieces for text in piece.choices)


@contextmanager
def opens() -> Iterator[list[str]]:
    """The paths of files and folders that this process opens."""
    paths: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if active and event in ("open", "os.scandir", "os.listdir"):
            paths.append(
                os.fspath(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
            )  # type: ignore[arg-type]

    sys.addaudithook(hook)
    try:
        yield paths
    finally:
        active = False


# Links and what is no file ----------------------------------------------------------------------------------


def test_nothing_outside_of_the_workspace_is_opened_by_links_dots_or_absolute_paths(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(outside / "secret.py", "def stolen(): ...\n")
    write(outside / "pkg" / "inner.py", "def stolen(): ...\n")
    document = write(
        root / "deep" / "a.py",
        "from link import stolen\nfrom folder.inner import stolen\nfrom ....outside.secret import stolen\n"
        "from ...outside import secret\nimport inside_link\nstolen(secret)\n",
    )
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside / "pkg")
    write(root / "real.py", "def mine(): ...\n")
    (root / "inside_link.py").symlink_to(root / "real.py")
    others_of(document, [root])  # imports what it needs
    with opens() as paths:
        others = others_of(document, [root])
    assert "def stolen" not in texts_of(others)
    assert "def mine" in texts_of(others)
    assert [path for path in paths if str(tmp_path) in path and not path.startswith(str(root))] == []
    assert any(path.endswith("real.py") for path in paths)


def test_a_link_to_an_excluded_file_is_excluded(tmp_path: Path) -> None:
    write(tmp_path / "secrets.toml", "def token(): ...\n")
    (tmp_path / "innocent.py").symlink_to(tmp_path / "secrets.toml")
    document = write(tmp_path / "a.py", "from innocent import token\n")
    assert others_of(document, [tmp_path]).pieces == ()


@pytest.mark.skipif(sys.platform == "win32", reason="needs FIFOs and unix sockets")
def test_a_fifo_a_socket_a_folder_and_an_unreadable_file_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.py")
    (tmp_path / "folder.py").mkdir()
    write(tmp_path / "locked.py", "def locked(): ...\n").chmod(0)
    write(tmp_path / "fine.py", "def fine(): ...\n")
    os.mkfifo(tmp_path / ".gitignore")
    document = write(
        tmp_path / "a.py",
        "from fifo import x\nfrom socket_file import x\nfrom folder import x\nfrom locked import locked\n"
        "from fine import fine\n",
    )
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.chdir(tmp_path):  # the path of a socket is short
        listener.bind("socket_file.py")
    others = others_of(document, [tmp_path])
    listener.close()
    assert "def fine(): ..." in texts_of(others)
    assert os.geteuid() == 0 or "locked" not in texts_of(others)


def test_files_that_are_too_large_too_many_or_too_late_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "large.py", "def large(): ...\n" + "# x\n" * 1_300_000)
    names = [f"m{number}" for number in range(30)]
    for name in names:
        write(tmp_path / f"{name}.py", f"def f_{name}(): ...\n")
    lines = [f"from {name} import f_{name}" for name in names]
    document = write(tmp_path / "a.py", "\n".join(["from large import large", *lines]) + "\n")
    assert len(others_of(document, [tmp_path]).pieces) == 30
    assert len(others_of(document, [tmp_path], files=7).pieces) == 6, "the file that is too large counts"
    assert others_of(document, [tmp_path], seconds=0.0).pieces == ()


def test_renamed_and_deleted_files_are_noticed_and_unchanged_ones_read_once(tmp_path: Path) -> None:
    module = write(tmp_path / "m.py", "def first(): ...\n")
    document = write(tmp_path / "a.py", "from m import *\nfrom n import *\n")
    files = WorkspaceFiles([str(tmp_path)])
    snapshot = DocumentSnapshot(str(document), "python", document.read_text())

    def names() -> list[str]:
        return [
            piece.texts[-1]
            for piece in gather(snapshot, BoundedReading(files, limits=ReadingLimits(**PATIENT))).pieces
        ]

    assert names() == ["def first(): ..."]
    with opens() as paths:
        assert names() == ["def first(): ..."]
    assert not any(path.endswith("m.py") for path in paths)
    write(module, "def second_one(): ...\n")
    assert names() == ["def second_one(): ..."]
    module.rename(tmp_path / "n.py")
    assert names() == ["def second_one(): ..."]
    (tmp_path / "n.py").unlink()
    assert names() == []


def test_several_workspace_folders_each_with_its_own_imports(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one / "m.py", "def of_one(): ...\n")
    write(two / "m.py", "def of_two(): ...\n")
    document = write(two / "a.py", "from m import *\n")
    others = others_of(document, [one, two])
    assert [(piece.path, piece.texts) for piece in others.pieces] == [("two/m.py", ("def of_two(): ...",))]
    assert others.path == "two/a.py"


def test_a_document_outside_of_the_workspace_has_no_other_files(tmp_path: Path) -> None:
    write(tmp_path / "m.py", "def f(): ...\n")
    document = write(tmp_path / "a.py", "from m import *\n")
    (tmp_path / "root").mkdir()
    assert others_of(document, [tmp_path / "root"]) == OtherFiles()
    assert others_of(document, []) == OtherFiles()


def test_open_documents_count_as_they_are_in_the_editor(tmp_path: Path) -> None:
    module = write(tmp_path / "m.py", "def saved(): ...\n")
    document = write(tmp_path / "a.py", "from m import *\n")
    reading = BoundedReading(
        WorkspaceFiles([str(tmp_path)]), {str(module): "def unsaved(): ...\n"}, ReadingLimits(**PATIENT)
    )
    others = gather(DocumentSnapshot(str(document), "python", document.read_text()), reading)
    assert texts_of(others) == "def unsaved(): ..."


def test_the_number_of_files_in_a_workspace_costs_nothing(tmp_path: Path) -> None:
    """No folder is walked over, so what is opened and kept doesn't depend on the size of the workspace."""
    write(tmp_path / "d1" / "used.py", "def used(): ...\n")
    document = write(tmp_path / "d1" / "a.py", "from d1.used import used\nfrom d2 import f3\nused(\n")

    def cost() -> tuple[list[str], int]:
        tracemalloc.start()
        try:
            with opens() as paths:
                assert texts_of(others_of(document, [tmp_path])) == "def used(): ..."
            return [path for path in paths if str(tmp_path) in path], tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    cost()  # imports what it needs
    few, _ = cost()
    for number in range(1000):
        write(tmp_path / f"d{number % 10}" / f"f{number}.py", "")
    many, peak = cost()
    assert many == few
    assert peak < 2**20


# Names ------------------------------------------------------------------------------------------------------


def test_names_of_star_imports_and_of_modules_are_known(tmp_path: Path) -> None:
    write(tmp_path / "pkg" / "__init__.py", "from .low import *\nVERSION = 1\n")
    write(tmp_path / "pkg" / "low.py", "__all__ = ['shown']\ndef shown(): ...\ndef other(): ...\n")
    write(tmp_path / "mod.py", "import os\nX = 1\nclass C: ...\n")
    write(tmp_path / "dynamic.py", "def __getattr__(name): ...\n")
    document = write(tmp_path / "a.py", "from pkg import *\nimport mod, dynamic\n")
    names = others_of(document, [tmp_path]).names
    assert names.starred == {"shown", "VERSION"}
    module = names.known.members_of(names.known.scope["mod"])
    assert module is not None
    assert set(module.values) == {"os", "X", "C"}
    assert not module.is_open
    dynamic = names.known.members_of(names.known.scope["dynamic"])
    assert dynamic is not None
    assert dynamic.is_open
    write(document, "from pkg import *\nfrom unknown_package import *\n")
    assert others_of(document, [tmp_path]).names.starred is None


# Passages ---------------------------------------------------------------------------------------------------


def test_passages_of_open_files_that_are_like_the_code_at_the_cursor(tmp_path: Path) -> None:
    body = "def send_message(channel, payload):\n    channel.write(encode_payload(payload))\n    channel.flush_all()\n"
    write(tmp_path / "near.py", "\n" * 20 + body + "\n" * 20)
    write(tmp_path / "far.py", "def nothing_alike(q):\n    return q\n" * 10)
    document = write(
        tmp_path / "a.py", body.replace("payload", "message").replace("send_message", "send_text")
    )
    write(tmp_path / "copy.py", document.read_text())
    recent = tuple(str(tmp_path / name) for name in ("copy.py", "far.py", "near.py", ".env.py"))
    reading = BoundedReading(WorkspaceFiles([str(tmp_path)]), limits=ReadingLimits(**PATIENT))
    others = gather(
        DocumentSnapshot(str(document), "python", document.read_text(), 0, recent), reading, similar=True
    )
    assert [piece.path for piece in others.pieces] == ["near.py"]
    assert "channel.flush_all()" in others.pieces[0].texts[0]
    assert re.fullmatch(r"\d+% of the words are the same", others.pieces[0].why)


# Exclusion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "ignore", "exclude", "excluded"),
    [
        ("src/.env", "", [], True),
        (".env.local", "!.env.local", [], True),
        (".env.local", "", ["!.env.local"], False),
        ("deploy/server.key", "", [], True),
        (".ssh/config", "", [], True),
        ("a.py", "", [], False),
        ("build/a.py", "build/", [], True),
        ("build/a.py", "build/\n!build/a.py", [], True),
        ("build/a.py", "build/*\n!build/a.py", [], False),
        ("build/a.py", "build/", ["!build/"], False),
        ("x/a.py", "", ["x/**"], True),
        ("x/a.py", "", ["/a.py"], False),
        ("x/a.py", "!\n[\n//\na.py", [], True),
    ],
)
def test_exclusion(path: str, ignore: str, exclude: list[str], excluded: bool, tmp_path: Path) -> None:
    write(tmp_path / path, "x = 1\n")
    write(tmp_path / ".gitignore", ignore)
    files = WorkspaceFiles([str(tmp_path)], exclude)
    assert files.excludes(str(tmp_path / path)) is excluded
    assert WorkspaceFiles([], exclude).excludes("/elsewhere/id_rsa")


MARK = "MUST_NOT_BE_SHOWN"
_NAME = st.sampled_from(["a", "b", "c_private", "gen", "sub"])
_TREE = st.dictionaries(st.lists(_NAME, min_size=1, max_size=3).map("/".join), st.booleans(), max_size=8)
_RULES = st.lists(
    st.sampled_from(["gen/", "*_private.py", "sub/*", "!sub/a.py", "/b.py", "**/c*", "a"]), max_size=4
)


@given(tree=_TREE, ignore=_RULES, exclude=_RULES, nested=_RULES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_excluded_is_ever_shown(
    tree: dict[str, bool],
    ignore: list[str],
    exclude: list[str],
    nested: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("tree")
    write(root / ".gitignore", "\n".join(ignore))
    write(root / "sub" / ".gitignore", "\n".join(nested))
    modules = [name for name in tree if not any(other.startswith(name + "/") for other in tree)]
    files = WorkspaceFiles([str(root)], exclude)
    lines = []
    for number, name in enumerate(modules):
        path = write(root / f"{name}.py", f"def f{number}(): ...\n")
        if files.excludes(str(path)):
            write(path, f"def f{number}_{MARK}(): ...\nf{number} = '{MARK}'\n")
        module = name.replace("/", ".")
        lines += [f"from {module} import *", f"import {module}", f"from {module} import f{number}"]
    document = write(root / "main.py", "\n".join(lines) + "\n")
    recent = tuple(str(root / f"{name}.py") for name in modules)
    snapshot = DocumentSnapshot(str(document), "python", document.read_text(), 0, recent)
    others = gather(snapshot, BoundedReading(files, limits=ReadingLimits(**PATIENT)), similar=True)
    assert MARK not in texts_of(others)
    assert MARK not in repr(others.names)
    assert MARK not in show(others, 10_000, "python", COUNT).text


# In a prompt ------------------------------------------------------------------------------------------------


def others_with(*texts: tuple[str, ...]) -> OtherFiles:
    pieces = tuple(FilePiece(f"f{number}.py", each, "import", "why") for number, each in enumerate(texts))
    return OtherFiles(pieces, path="own.py")


def test_every_piece_gets_its_leanest_text_before_one_gets_a_richer_one() -> None:
    others = others_with(("a b c d e f g h", "a"), ("k l m n", "k"))
    texts = [[piece.text for piece in show(others, budget, "python", COUNT).pieces] for budget in range(70)]
    rich, lean = ("a b c d e f g h", "k l m n"), ("a", "k")
    order = [[], [lean[0]], [rich[0]], [*lean], [lean[0], rich[1]], [rich[0], lean[1]], [*rich]]
    steps = [each for number, each in enumerate(texts) if number == 0 or each != texts[number - 1]]
    assert steps[0] == []
    assert steps[-1] == [*rich]
    assert all(each in order for each in steps)
    assert [rich[0], lean[1]] in steps
    for budget in range(60):
        shown = show(others, budget, "python", COUNT)
        assert COUNT(shown.text) == shown.tokens <= max(0, budget)


def test_the_current_file_comes_first_and_a_growing_one_changes_the_start_rarely() -> None:
    others = others_with(*((f"def f{number}(): ...",) for number in range(40)))
    limits = PromptLimits(context=600, line_tokens=20, block_tokens=40)
    starts = []
    for lines in range(160):
        prompt = build(site("x = 1\n" * lines + "‸"), limits, COUNT, other_files=others)
        assert COUNT(prompt.text) <= prompt.tokens <= limits.context - prompt.max_tokens
        assert COUNT(prompt.above) <= limits.context // 4
        assert prompt.text == prompt.above + prompt.header + prompt.window
        starts.append(prompt.above)
    assert starts[0].startswith("# f0.py\ndef f0(): ...\n")
    assert starts[-1] == ""
    assert len(set(starts)) <= 4
    alone = build(site("x = 1\n" * 159 + "‸"), limits, COUNT)
    assert prompt == alone


def typed(others: OtherFiles, limits: PromptLimits, texts: Sequence[str]) -> list[Prompt]:
    """The prompts of one document after another key, or at another place, each with what the last one gave."""
    prompts: list[Prompt] = []
    for text in texts:
        given = prompts[-1].given if prompts else None
        prompts.append(build(site(text), limits, COUNT, other_files=others, given=given))
    return prompts


FUNCTION = '\n\ndef area(shape: Shape) -> float:\n    """Area."""\n    return shape.width * shape.height\n'


@pytest.mark.parametrize("suffix", [0, 64])
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 120), st.integers(1, 40), st.integers(300, 700))
def test_typing_a_function_changes_what_other_files_say_in_coarse_steps(
    suffix: int, lines: int, pieces: int, context: int
) -> None:
    others = others_with(*((f"def f{number}(a, b): ...",) for number in range(pieces)))
    limits = PromptLimits(context, line_tokens=20, block_tokens=40, suffix_tokens=suffix)
    text, below = "x = 1\n" * lines, "\ny = x + 1\n" * 9
    keys = [f"{text}{FUNCTION[:number]}‸{below}" for number in range(len(FUNCTION) + 1)]
    prompts = typed(others, limits, keys)
    changes = [new for old, new in pairwise(prompts) if new.above != old.above]
    assert len(changes) <= 2, "a quarter of the prompt is given up in two steps at most"
    assert all(len(new.above) < len(old.above) for old, new in pairwise(prompts) if new in changes)
    for prompt in prompts:
        assert COUNT(prompt.text) <= prompt.tokens <= limits.context - 40
        assert COUNT(prompt.above) <= limits.context // 4
    room = limits.context - 40 - suffix * 2
    if COUNT(text + FUNCTION) + len(below) < room * 5 // 8:
        assert not changes
        assert len({prompt.given for prompt in prompts}) == 1


def test_other_files_keep_their_room_at_another_place_until_they_are_others() -> None:
    others = others_with(*((f"def f{number}(a, b): ...",) for number in range(40)))
    limits = PromptLimits(context=600, line_tokens=20, block_tokens=40)

    def at(lines: int) -> str:
        return "x = 1\n" * lines + "‸" + "y = 2\n" * (75 - lines)

    low, high = typed(others, limits, [at(68), at(10)])
    assert 0 < COUNT(low.above) < COUNT(build(site(at(10)), limits, COUNT, other_files=others).above)
    assert high.text == low.text[: len(high.text)], "the prompt further up is all in the cache"
    up_and_down = typed(others, limits, [at(10), at(50), at(73), at(10), at(73)])
    assert len({prompt.above for prompt in up_and_down}) == 2
    (fresh,) = typed(replace(others, path="renamed.py"), limits, [at(10)])
    assert COUNT(fresh.above) > COUNT(low.above)


def test_a_family_with_separators_gets_files_in_place_of_comments() -> None:
    others = others_with(("def a(): ...",), ("def b(): ...",))
    limits = PromptLimits(file_separator=3)
    prompt = build(site("x = ‸"), limits, COUNT, other_files=others)
    assert prompt.text == "x = "
    assert prompt.files == (FileText("f0.py", "def a(): ...\n"), FileText("f1.py", "def b(): ...\n"))
    assert prompt.path == "own.py"
    request = to_request(prompt, Options(), extensions=True, invoked=False)
    assert (request.files, request.path) == (prompt.files, "own.py")
    assert warming_request(prompt).files == prompt.files


def test_other_files_make_names_known_to_the_checks_of_lines() -> None:
    known = KnownNames("a.py", {"mod": Value("module", "mod.py")}, {"mod.py": Members({"right": None})})
    names = ForeignNames(frozenset({"shown"}), known)
    text = "from pkg import *\nimport mod\n\ndef f(a):\n    ‸\n    return b + shown\n"
    plain = site(text)
    informed = Site.of(replace(plain.cursor, foreign=names))
    check = checker_for(informed)
    assert [
        check(line).unknown for line in ("b = shown", "b = missing", "b = mod.right(a)", "b = mod.wrong(a)")
    ] == [0, 1, 0, 1]
    assert checker_for(plain)("b = shown").unknown == 1
    assert hints.missing(informed.statements, informed.cursor) == ("b",)  # type: ignore[arg-type]
    assert hints.missing(plain.statements, plain.cursor) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "import a" + ".a" * 40_000),
        ("python", "from ..a import " + ",".join(f"n{n}" for n in range(30_000))),
        (
            "python",
            "".join(f"from .a{m} import {','.join(f'n{n}' for n in range(900))}\n" for m in range(180)),
        ),
        ("python", "".join(f"import a{n}{'.a' * 240}\n" for n in range(200))),
        ("python", "from " + "." * 200_000 + " import x"),
        ("javascript", f"import x from './{'a/' * 100_000}'"),
        ("c", f'#include "{"a/" * 100_000}"'),
        ("java", f"import {'a.' * 50_000}B;"),
        ("go", f'import "{"a/" * 50_000}"'),
    ],
)
def test_no_import_takes_long(language: str, text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", text)
    reading = BoundedReading(WorkspaceFiles([str(tmp_path)]), {str(path): text})
    started = time.thread_time()
    gather(DocumentSnapshot(str(path), language, text, 0, ()), reading)
    assert time.thread_time() - started < 10
