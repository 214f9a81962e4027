"""Which members may follow a dot: receivers, local names, keywords before them, and where nothing is known."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import cursor

from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.context.files import BoundedReading, WorkspaceFiles
from codegen_lsp.lsp.context.gathering import gather
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.fitting.line_checks import checker_for
from codegen_lsp.lsp.fitting.receivers import receiver_of, words_at
from codegen_lsp.lsp.names.values import is_private

CLASSES = """\
from threading import Thread

class Base:
    def close(self) -> None: ...

class Client(Base):
    def __init__(self, url: str) -> None:
        self.url = url
        self._log: Log = Log()

    def send(self, request: "Request") -> "Response": ...
    async def send_async(self, request: "Request") -> "Response": ...
    def __enter__(self) -> "Session": ...

class Session:
    def commit(self): ...

class Request:
    headers: dict[str, str]

class Response:
    text: str
    parts: list["Response"]
    def json(self): ...

class Log:
    def write(self, line): ...
    async def flush(self): ...

class Worker(Thread):
    def work(self): ...

class Failure(Exception): ...

def connect(url) -> Client: ...
"""
SPECIAL = {"__class__", "__dict__", "__init__", "__name__", "__new__", "__qualname__"}
CLIENT = {"close", "url", "_log", "send", "send_async", "__enter__"}


def words(code: str, before: str = CLASSES) -> set[str]:
    """What may follow the cursor in a file that was read when it had the same text without the cursor's line."""
    at = cursor(f"{before}\n{code}")
    read = at.prefix[: -len(at.line_prefix) or None] + at.suffix.removeprefix(at.line_suffix)
    names = gather(DocumentSnapshot("/a.py", "python", read), BoundedReading(WorkspaceFiles([]))).names
    return set(words_at(Site.of(replace(at, foreign=names)))) - SPECIAL


IMPORTS = """\
import json, os.path, importlib.metadata
import datetime as dt
import numpy as np
from pathlib import Path
from tempfile import TemporaryDirectory
from argparse import ArgumentParser

NEW = json.later(1)

class Folder(Path):
    def only(self): ...
"""


@pytest.mark.parametrize(
    ("code", "some"),
    [
        ("json.‸\n", {"loads", "dumps", "JSONDecodeError", "later"}),
        ("json.lo‸\n", {"ad", "ads"}),
        ("os.path.‸\n", {"join", "exists"}),
        ("os.path‸\n", {""}),
        ("importlib.metadata.‸\n", {"version"}),
        ("dt.‸\n", {"datetime", "timedelta"}),
        ("dt.datetime.‸\n", {"now", "strptime"}),
        ("def f(path: Path):\n    path.‸\n", {"read_text", "parent", "exists"}),
        ("def f(path: Path | None):\n    x = path.re‸\n", {"ad_text", "name", "solve"}),
        ("def f(folder: Folder):\n    folder.‸\n", {"read_text", "only"}),
        ("def f(text):\n    json.loads(text).‸\n", set()),
        ("def f(path: Path):\n    path.read_text().‸\n", set()),
        ("def f():\n    parser = ArgumentParser()\n    parser.‸\n", set()),
        ("def f():\n    with TemporaryDirectory() as name:\n        name.‸\n", set()),
        ("def f(range: np.Range):\n    range.‸\n", set()),
        ("def f(json):\n    json.‸\n", set()),
        ("np.‸\n", set()),
    ],
)
def test_members_of_the_standard_library(code: str, some: set[str]) -> None:
    found = words(code, IMPORTS)
    assert some <= found
    assert bool(some) is bool(found)
    assert not any(map(is_private, found))


def test_a_name_of_the_file_hides_a_built_in_one() -> None:
    assert words("def f():\n    input.‸\n", "input = connect()\n") == set()
    assert words("def f():\n    str.‸\n", "x = 1\n") >= {"join", "maketrans"}


@pytest.mark.parametrize(
    ("code", "members"),
    [
        ("def f(client: Client):\n    client.‸\n", CLIENT),
        ('def f(client: "Client | None" = None, *, x=1):\n    return client.‸\n', CLIENT),
        ("def f(\n    a,\n    client: Client,  # the client\n    *args,\n):\n    client.‸\n", CLIENT),
        ("def f(client: Client):\n    client.se‸\n", {"nd", "nd_async"}),
        ("def f(client: Client):\n    client.send‸\n", {"", "_async"}),
        ("def f(client: Client):\n    client.sx‸\n", set()),
        ("def f():\n    client = Client('a')\n    client.‸\n", CLIENT),
        ("def f():\n    client = Client(\n        'a',\n    )\n    client.‸\n", CLIENT),
        ("def f():\n    client = connect('a')\n    client.‸\n", CLIENT),
        (
            "def f():\n    client = connect('a')\n    text = client.send(Request()).text\n    text.is‸\n",
            {name[2:] for name in dir(str) if name.startswith("is")},
        ),
        ("def f():\n    with Client('a') as session:\n        session.‸\n", {"commit"}),
        ("def f(r: Response):\n    for part in r.parts:\n        part.‸\n", {"text", "parts", "json"}),
        ("def f(r: Response):\n    r.parts[0].‸\n", {"text", "parts", "json"}),
        ("def f(x):\n    if isinstance(x, Response):\n        x.‸\n", {"text", "parts", "json"}),
        ("def f(x):\n    if isinstance(x, Response):\n        pass\n    x.‸\n", set()),
        ("def f(x):\n    assert isinstance(x, Log)\n    x.‸\n", {"write", "flush"}),
        (
            "def f():\n    try:\n        pass\n    except Failure as failure:\n        failure.add‸\n",
            {"_note"},
        ),
        ("def f(client: Client):\n    await client._log.‸\n", {"write", "flush"}),
        ("async def f(client: Client):\n    await client.‸\n", CLIENT - {"send", "__enter__"}),
        ("def f(client: Client):\n    if (r := client.send(0)):\n        r.‸\n", {"text", "parts", "json"}),
        ("class Own(Base):\n    def run(self):\n        self.‸\n", {"close", "run"}),
        (
            "class Own(Base):\n    def run(self):\n        self.new = 1\n        if self.‸\n",
            {"close", "run", "new"},
        ),
        ("class Own(Base):\n    def __init__(self):\n        self.‸\n", set()),
        ("class Own(Base):\n    def __init__(self):\n        x = self.‸\n", {"close"}),
        ("class Own:\n    @classmethod\n    def make(cls):\n        cls.‸\n", {"make"}),
        ('def f(client: Client):\n    print(f"{client.‸")\n', CLIENT),
        # Not known, or not a member
        ("def f(client: Client):\n    # closes the client.‸\n", set()),
        ('def f(client: Client):\n    """Close the client.‸\n', set()),
        ("def f(client: Client):\n    print('the client.‸')\n", set()),
        ("class Own(Base):\n    def reset(self):\n        self.‸\n", set()),
        ("def f(client):\n    client.‸\n", set()),
        ("def f(client: Client):\n    client = other()\n    client.‸\n", set()),
        ("def f(client: Client):\n    for i, client in enumerate(x):\n        client.‸\n", set()),
        ("def f(worker: Worker):\n    worker.‸\n", set()),
        ("def f(client: Client):\n    client.url‸x\n", set()),
        ("def f(client: Client):\n    client.__‸\n", set()),
        ("def f(client: Client):\n    g().‸\n", set()),
        ("def f(client: Client):\n    x = 1.‸\n", set()),
        ("def f(client: Client):\n    client‸\n", set()),
        ("‸\n", set()),
    ],
)
def test_which_members_may_follow(code: str, members: set[str]) -> None:
    assert words(code) == members


def test_members_of_the_document_s_classes_count_before_they_are_saved() -> None:
    old = "class Point:\n    x: int\n\ndef f(point: Point):\n"
    at = cursor(
        "class Point:\n    x: int\n    y: int = 0\n\n    def move(self): ...\n\ndef f(point: Point):\n    point.‸\n"
    )
    names = gather(DocumentSnapshot("/a.py", "python", old), BoundedReading(WorkspaceFiles([]))).names
    assert set(words_at(Site.of(replace(at, foreign=names)))) - SPECIAL == {"x", "y", "move"}


def test_a_name_that_no_engine_takes_is_left_out() -> None:
    code = f"class A:\n    def {'x' * 500}(self): ...\n    def y(self): ...\n\ndef f(a: A):\n    a.‸\n"
    assert words(code, "") == {"y"}


@pytest.mark.parametrize(("lines", "members"), [(10, {"text", "parts", "json"}), (2000, set())])
def test_names_of_a_function_that_is_too_long_to_read_are_not_known(lines: int, members: set[str]) -> None:
    """The last assignment counts, which may be anywhere in it."""
    body = "    print('a')\n" * lines
    assert words(f"def f(x: Log):\n{body}    x = Response()\n    x.‸\n") == members


@pytest.mark.parametrize(("language", "has_words"), [("python", True), ("javascript", False)])
def test_other_languages_have_no_words(language: str, has_words: bool) -> None:
    at = cursor(CLASSES + "\nclient = Client('a')\nclient.‸\n", language)
    names = gather(
        DocumentSnapshot("/a.py", "python", CLASSES + "client = Client('a')\n"),
        BoundedReading(WorkspaceFiles([])),
    ).names
    assert bool(words_at(Site.of(replace(at, foreign=names)))) is has_words


def test_a_line_that_uses_a_member_that_is_not_there_is_unknown() -> None:
    at = cursor(CLASSES + "\ndef f(client: Client):\n    for part in ‸\n")
    names = gather(DocumentSnapshot("/a.py", "python", CLASSES), BoundedReading(WorkspaceFiles([]))).names
    check = checker_for(Site.of(replace(at, foreign=names)))
    lines = (
        *("client.send(0).parts:", "client.parts:", "client.send(0).pieces:"),
        *("[c.send for c in client.x]:", "[client.y for client in ()]:"),
    )
    assert [check(line).unknown for line in lines] == [0, 1, 1, 1, 0]


def test_a_line_that_only_looks_something_up_is_pointless() -> None:
    at = cursor(CLASSES + "\ndef f(client: Client):\n    ‸\n    return client\n")
    check = checker_for(Site.of(at))
    assert [
        check(line).pointless for line in ("client.url", "client.close()", "client.url = ''", "pass")
    ] == [*(True, False, False, False)]


@pytest.mark.parametrize(
    ("before", "receiver"),
    [
        ("x = self.client", "self.client"),
        ("return f(a)", "f(a)"),
        ("await a.b(c, [d]).e[0]", "a.b(c, [d]).e[0]"),
        ("f(x, y", "y"),
        ("'text'", ""),
        ("3", ""),
        ("a b", "b"),
        ("", ""),
        (")", ""),
        ("f(')')", ""),
        ("a" * 3000, ""),
        ("x." * 3000 + "y", ""),
    ],
)
def test_the_receiver_at_the_end_of_a_line(before: str, receiver: str) -> None:
    assert receiver_of(before) == receiver


PIECES = (
    *("def f(a: A):", "class A:", "    ", "a.", "for a in b:", "with a as b:", "\n", "a = b", '"""'),
    *("(", ")", "lambda a", "isinstance(a, A)", "if ", ","),
)
CODE = st.text("ab.()[]{}'\",=: |\n#\t\\", max_size=80) | st.lists(st.sampled_from(PIECES), max_size=14).map(
    "".join
)
LONG = {
    "with": "with a, " * 3000,
    "for": "for a, " * 3000,
    "brackets": "(" * 9000,
    "calls": "a(" * 5000,
    "members": "x = (a" + ".b()" * 4000,
    "strings": '"""' * 4001,
    "isinstance": "isinstance(a, " * 1500,
}


@given(CODE, CODE)
def test_no_text_raises(above: str, below: str) -> None:
    at = cursor(f"{above.replace('‸', '')}a.‸{below}")
    names = gather(DocumentSnapshot("/a.py", "python", above), BoundedReading(WorkspaceFiles([]))).names
    assert isinstance(words_at(Site.of(replace(at, foreign=names))), tuple)


@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_long_lines_take_no_time_that_grows_with_their_square(line: str) -> None:
    at = cursor(f"def f(a):\n    {line}\n    a.‸\n")
    names = gather(DocumentSnapshot("/a.py", "python", CLASSES), BoundedReading(WorkspaceFiles([]))).names
    started = time.thread_time()
    words_at(Site.of(replace(at, foreign=names)))
    checker_for(Site.of(replace(at, foreign=names)))(line + "a.b")
    assert time.thread_time() - started < 2
