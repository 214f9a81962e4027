"""What the names of a document mean in its workspace: classes of other files, bases, members, and what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen_lsp.lsp.context.files import BoundedReading, ReadingLimits, WorkspaceFiles
from codegen_lsp.lsp.context.gathering import gather
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot
from codegen_lsp.lsp.names.known import KnownNames
from codegen_lsp.lsp.names.values import Members

PATIENT = ReadingLimits(seconds=60, wall_seconds=600)


def known(folder: Path, files: dict[str, str], text: str, *, imports: bool = True) -> KnownNames:
    """What is known of the names of a document `app.py` beside some files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    document = folder / "app.py"
    document.write_text(text, encoding="utf-8")
    snapshot = DocumentSnapshot(str(document), "python", text)
    reading = BoundedReading(WorkspaceFiles([str(folder)]), limits=PATIENT)
    return gather(snapshot, reading, imports=imports).names.known


def members(names: KnownNames, name: str) -> Members:
    found = names.members_of(names.scope[name])
    assert found is not None
    return found


def test_members_come_from_methods_fields_and_attributes(tmp_path: Path) -> None:
    client = """\
from dataclasses import dataclass
from functools import cached_property

@dataclass
class Client:
    url: str
    retries: int = 3
    LIMIT = 10

    def __init__(self, url):
        self.url = url
        if url:
            self._open, self.closed = True, False
        with open(url) as self.file:
            pass

    @property
    def name(self) -> str:
        return self._name

    @cached_property
    def last(self) -> "Response": ...

    async def get(self, path: str) -> "Response | None":
        return None

    class Inner: ...

class Response:
    text: str
"""
    names = known(
        tmp_path,
        {"net/__init__.py": "from .client import Client\n", "net/client.py": client},
        "from net import Client as C\n",
    )
    found = members(names, "C")
    assert not found.is_open
    assert set(found.values) == {
        *(
            "url",
            "retries",
            "LIMIT",
            "__init__",
            "_open",
            "closed",
            "file",
            "name",
            "_name",
            "last",
            "get",
            "Inner",
        )
    }
    get = found.values["get"]
    assert get is not None
    assert (get.kind, get.is_async) == ("function", True)
    assert set(names.members_of(get.called).values) == {"text"}  # type: ignore[union-attr]
    assert names.member(names.scope["C"].called, "last") == get.called
    assert names.member(names.scope["C"].called, "name").key == "builtins.str"  # type: ignore[union-attr]


def test_a_class_has_the_members_of_its_bases(tmp_path: Path) -> None:
    files = {"base.py": "class Base:\n    def close(self): ...\nclass Middle(Base):\n    size: int\n"}
    names = known(tmp_path, files, "import base\nclass Own(base.Middle):\n    def run(self): ...\n")
    assert set(members(names, "Own").values) == {"close", "size", "run"}
    assert not members(names, "Own").is_open


@pytest.mark.parametrize(
    ("head", "is_open"),
    [
        ("class A: ...", False),
        ("class A(object): ...", False),
        ("class A(ABC): ...", False),
        ("class A(Generic[T]): ...", False),
        ("class A(Protocol): ...", False),
        ("class A(metaclass=ABCMeta): ...", False),
        ("class A(ValueError): ...", False),
        ("class A(Enum): ...", False),
        ("class A(threading.Thread): ...", True),
        ("class A(unknown.Base): ...", True),
        ("class A(make_base()): ...", True),
        ("class A(metaclass=Registry): ...", True),
        ("class A:\n    def __getattr__(self, name): ...", True),
        ("class A(A): ...", True),
        ("class A(B): ...\nclass B(A): ...", True),
    ],
)
def test_a_class_with_a_base_that_is_not_known_is_open(tmp_path: Path, head: str, *, is_open: bool) -> None:
    assert members(known(tmp_path, {}, head + "\n"), "A").is_open is is_open


def test_values_of_modules_and_results_of_functions_are_known(tmp_path: Path) -> None:
    log_types = (
        "class Log:\n    def write(self, line): ...\ndef make() -> Log: ...\nlog = make()\nmain: Log = None\n"
    )
    files = {
        "app_types.py": log_types,
        "loop_a.py": "from loop_b import x\n",
        "loop_b.py": "from loop_a import x\n",
    }
    names = known(
        tmp_path, files, "import app_types\nfrom app_types import *\nfrom loop_a import x\nname = 'a'\n"
    )
    assert set(members(names, "app_types").values) == {"Log", "make", "log", "main"}
    log = names.member(names.scope["app_types"], "log")
    assert log is not None
    assert log == names.member(names.scope["app_types"], "main")
    assert set(names.members_of(log).values) == {"write"}  # type: ignore[union-attr]
    assert names.scope["name"].key == "builtins.str"
    assert "x" not in names.scope


def test_a_package_has_its_modules_as_members(tmp_path: Path) -> None:
    names = known(tmp_path, {"pkg/__init__.py": "VERSION = '1'\n", "pkg/deep.py": "X = 1\n"}, "import pkg\n")
    assert set(members(names, "pkg").values) == {"VERSION", "__init__", "deep"}


def test_without_other_files_the_document_s_own_names_are_known(tmp_path: Path) -> None:
    text = "from other import Base\nclass Own:\n    a: int\nclass Sub(Base): ...\n"
    names = known(tmp_path, {"other.py": "class Base: ...\n"}, text, imports=False)
    assert set(members(names, "Own").values) == {"a"}
    assert members(names, "Sub").is_open
    outside = gather(DocumentSnapshot("/elsewhere/a.py", "python", text), BoundedReading(WorkspaceFiles([])))
    assert set(members(outside.names.known, "Own").values) == {"a"}


def test_nothing_is_known_of_other_languages_and_of_what_is_no_code(tmp_path: Path) -> None:
    reading = BoundedReading(WorkspaceFiles([str(tmp_path)]))
    snapshot = DocumentSnapshot(str(tmp_path / "a.js"), "javascript", "class A { b() {} }\n")
    assert gather(snapshot, reading).names.known == KnownNames()
    assert known(tmp_path, {}, "class\n)]}\n\0 def (:\n").members == {}
