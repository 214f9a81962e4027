"""Lines that need another file: how they are found, what each way is shown, and going on after a stop."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.scripted_client import ScriptedClient, report_after_stops

from codegen_lsp.evals.benchmarks import crossfile
from codegen_lsp.evals.benchmarks.crossfile import CrossfileSettings, CrossfileTask, LineCompleter
from codegen_lsp.evals.benchmarks.crossfile.stubbing import without_own_imports
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import RetryingClient
from codegen_lsp.wire.answers import ModelInfo
from codegen_lsp.wire.requests import EXTENSIONS, CompletionRequest

pytest.importorskip("mypy", reason="needs the eval extra")

SHAPES = """class Circle:
    def __init__(self, radius):
        self.radius = radius

    def area(self):
        '''Return the total of a circle, whose half is nothing.'''
        return 3
"""
MAIN = """from .shapes import Circle
import math
print("this module must never run")


def total(size):
    circle = Circle(size)
    half = math.nothing
    return circle.area() / 2
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "shapely"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "shapes.py").write_text(SHAPES)
    (folder / "main.py").write_text(MAIN)
    (folder / "broken.py").write_text("def (:\n")
    return folder


def test_imports_of_the_package_become_empty_classes_on_the_same_lines() -> None:
    text = (
        "import os\nfrom .a import (\n    b,\n    c as d,\n)\nimport pkg.x as y; z = 1\n"
        "try:\n    from pkg import *\nfinally:\n    pass\n"
    )
    changed, names = without_own_imports(text, Path("pkg/m.py"))
    assert changed.split("\n") == [
        "import os",
        "from crossfile_stubs import b, c as d",
        "",
        "",
        "",
        "from crossfile_stubs import pkg as y; z = 1",
        "try:",
        "    pass",
        "finally:",
        "    pass",
        "",
    ]
    assert names == {"b", "c", "pkg"}


@pytest.mark.slow
def test_lines_that_need_another_file_are_found_by_the_type_checker_alone(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "broken.py").unlink()

    def find(package: Path) -> list[CrossfileTask]:
        with Folder(tmp_path / "out", {}) as folder:
            return crossfile.find_tasks([package], CrossfileSettings(), folder, lambda *_: None)

    tasks = find(package)
    assert [(task.task_id, task.prefix.split("\n")[-1], task.rest) for task in tasks] == [
        ("shapely/main.py:7", "    circle = Circle(", "size)"),
        ("shapely/main.py:9", "    return circle.", "area() / 2"),
    ]
    assert all(task.prefix + task.rest + task.suffix == MAIN for task in tasks)
    assert "must never run" not in capfd.readouterr().out
    assert not any("shapely" in name for name in sys.modules)
    with pytest.raises(DataError, match="not a Python package"):
        find(package.parent)

    # The type checker is not asked twice about the same package.
    with monkeypatch.context() as patch:
        patch.setattr(crossfile.tasks, "marked_places", lambda *_: pytest.fail("asked twice"))
        assert find(package) == tasks
    log = tmp_path / "out" / "places.jsonl"
    log.write_text(log.read_text().replace("main.py", "other.py"))
    with pytest.raises(DataError, match="another --out"):
        find(package)
    log.unlink()
    (package / "main.py").write_text(MAIN + "# changed\n")
    assert [task.task_id for task in find(package)] == [task.task_id for task in tasks]


def tasks_in(package: Path) -> list[CrossfileTask]:
    cut = MAIN.index("area()")
    end = MAIN.index("\n", cut)
    task = CrossfileTask(
        "shapely/main.py:9", package / "main.py", package.parent, 8, MAIN[:cut], MAIN[cut:end], MAIN[end:], ()
    )
    return [
        task,
        replace(task, task_id="shapely/main.py:7", line=6, open_files=(str(package / "shapes.py"),)),
    ]


def written(prompt: str, _seed: int, request: CompletionRequest) -> str:
    """A model that knows a method only if it was shown, or named among those that may come."""
    return "area() / 2\n" if "def area" in prompt or "area" in request.words else "size()\n"


async def report_in(
    folder: Path, package: Path, client: ScriptedClient, extensions: tuple[str, ...] = ()
) -> dict[str, Any]:
    settings = crossfile.settings_of(CrossfileSettings(tasks=2), [package])
    tasks = tasks_in(package)
    with Folder(folder, settings) as opened:
        completer = LineCompleter(
            RetryingClient(client, pause=0.0), client, ModelInfo("m", 2048, extensions=extensions)
        )
        try:
            records = await crossfile.evaluate(completer, opened, tasks, lambda *_: None)
        finally:
            await completer.aclose()
        return crossfile.write_report(opened, records, tasks, {"model": "m", "settings": settings})


async def test_the_report_says_what_each_way_gains(tmp_path: Path, package: Path) -> None:
    data = await report_in(tmp_path / "out", package, ScriptedClient(written))
    ways = {way: figures["identifier_match"]["mean"] for way, figures in data["ways"].items()}
    assert ways == {"none": 0.0, "names": 0.0, "imports": 1.0, "similar": 0.5, "both": 1.0}
    assert data["ways"]["imports"]["exact_match"]["mean"] == 1.0
    assert data["ways"]["none"]["shown"] == 0.0
    assert data["gain_identifier_match"] == dict.fromkeys(("names", "imports", "similar", "both"))
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| with names and imported definitions | 100.0" in page
    assert "## shapely: 2 lines" in page
    assert json.loads((tmp_path / "out" / "report.json").read_text())["tasks"] == 2


async def test_the_names_of_other_files_limit_what_comes_after_a_dot(tmp_path: Path, package: Path) -> None:
    data = await report_in(tmp_path / "out", package, ScriptedClient(written), EXTENSIONS)
    ways = {way: figures["identifier_match"]["mean"] for way, figures in data["ways"].items()}
    assert ways == {"none": 0.0, "names": 1.0, "imports": 1.0, "similar": 1.0, "both": 1.0}
    assert data["ways"]["names"]["shown"] == 0.0


async def test_goes_on_after_a_stop(tmp_path: Path, package: Path) -> None:
    whole = await report_in(tmp_path / "whole", package, ScriptedClient(written))
    parts = await report_after_stops(
        written, 5, lambda client: report_in(tmp_path / "parts", package, client)
    )
    for way in crossfile.WAYS:
        assert parts["ways"][way]["exact_match"] == whole["ways"][way]["exact_match"]


async def test_edited_records_are_refused(tmp_path: Path, package: Path) -> None:
    await report_in(tmp_path / "out", package, ScriptedClient(written))
    log = tmp_path / "out" / "lines.jsonl"
    log.write_text(log.read_text().replace('"line"', '"lime"'))
    with pytest.raises(DataError, match="another --out"):
        await report_in(tmp_path / "out", package, ScriptedClient(written))


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(EvaluationError):
        CrossfileSettings(tasks=0)
