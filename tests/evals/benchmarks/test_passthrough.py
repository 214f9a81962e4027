"""Passthrough: places of files, what a stand-in model's text comes to there, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from codegen_lsp.commands.evaluate import app
from codegen_lsp.evals.benchmarks.passthrough import PassthroughSettings, evaluate, figures, places_of
from codegen_lsp.evals.benchmarks.passthrough.evaluation import LANGUAGES, compare, judge
from codegen_lsp.evals.benchmarks.passthrough.places import KINDS, Place
from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.lsp.code.languages import GRAMMARS
from codegen_lsp.lsp.code.languages import LANGUAGES as TABLE

JAVA = """class A {
    int f(int x) {
        if (x > 1) {
            return 2;
        }
        return call(
            x,
            3
        );
    }
}
"""
PYTHON = '''def f(
    a,
    b,
):
    """Add."""
    if a:
        return b
    return a + b


def g():
    return f(1, 2)
'''


def test_the_files_own_text_arrives_at_every_place() -> None:
    for name, text in (("java", JAVA), ("python", PYTHON)):
        places = places_of(f"a.{name}", name, text, seed=0, count=20)
        findings = [judge(place) for place in places]
        assert [f for f in findings if f.outcome != "intact"] == []
        assert {f.place.kind for f in findings} >= {"line", "column 0", "whole line"}


def test_a_place_is_the_file_with_a_gap() -> None:
    places = places_of("a.java", "java", JAVA, seed=0, count=20)
    assert {place.kind for place in places} == set(KINDS) - {"head"}
    for place in places:
        assert place.continuation.startswith(place.wanted)
        assert JAVA.startswith(place.prefix + place.wanted)
        assert JAVA.endswith(place.suffix)
    assert places == places_of("a.java", "java", JAVA, seed=0, count=20)


@pytest.mark.parametrize(
    ("inserted", "outcome"),
    [
        ("\n  x;\n}", "intact"),
        ("\n  x;\n}\ny", "intact"),
        ("\n  x;", "cut"),
        ("\n  x;\n}\n}", "doubled"),
        ("\n    x;\n}", "changed"),
    ],
)
def test_outcomes(inserted: str, outcome: str) -> None:
    place = Place("a.c", "c", "opened", 1, "f() {", "\n", "\n  x;\n}", "\n  x;\n}\ny();\n")
    assert compare(place, place.prefix + inserted + place.suffix, 0) == outcome


CLAUSES = """function f(x) {
  if (x > 1) {
    g(x);
  } else {
    h(x);
  }
  try {
    g(x);
  } catch (e) {
    h(e);
  }
  do {
    x = g(x);
  } while (x);
  return list.map((y) => {
    return y;
  }).filter((y) => {
    return y > 1;
  });
}
"""


def test_the_gap_of_a_brace_holds_the_clauses_that_follow() -> None:
    opened = {p.line: p for p in places_of("a.js", "javascript", CLAUSES, 0, 50) if p.kind == "opened"}
    assert opened[2].wanted == "\n    g(x);\n  }"
    assert opened[2].suffix.startswith("\n  try {")
    assert opened[7].wanted == "\n    g(x);\n  } catch (e) {\n    h(e);\n  }"
    assert opened[9].wanted == "\n    h(e);\n  }"
    assert opened[12].wanted == "\n    x = g(x);\n  } while (x);"
    assert opened[15].wanted == "\n    return y;\n  })"
    assert opened[17].wanted == "\n    return y > 1;\n  });"
    assert [judge(p).outcome for p in opened.values()] == ["intact"] * len(opened)


def test_what_the_document_has_below_may_not_arrive_once_more() -> None:
    place = Place("a.c", "c", "opened", 1, "f() {", "\ny();\n", "\n  x;\n}", "\n  x;\n}\ny();\n", gap=7)
    assert compare(place, place.prefix + "\n  x;\n}" + place.suffix, 0) == "intact"
    assert compare(place, place.prefix + "\n  x;\n}\ny();" + place.suffix, 0) == "changed"


def test_heads_that_end_in_a_comment_are_places() -> None:
    text = "def f(x):  # twice\n    return 2 * x\n\n\ndef g(\n    x,\n):  # once\n    return x\n"
    heads = [p for p in places_of("a.py", "python", text, 0, 9) if p.kind == "head"]
    assert [p.wanted for p in heads] == ["\n    return 2 * x", "\n    return x"]
    assert [judge(p).outcome for p in heads] == ["intact", "intact"]


def test_figures_count_by_language_and_place(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PYTHON * 2)
    findings = list(evaluate([tmp_path], PassthroughSettings(places=3)))
    counts = figures(findings)
    assert list(counts) == ["python"]
    assert sum(sum(kind.values()) for kind in counts["python"].values()) == len(findings)


def test_paths_without_source_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no source file"):
        list(evaluate([tmp_path], PassthroughSettings()))


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.java").write_text("// " + "".join(f"{n}, " for n in range(40)) + "\n" + JAVA)
    result = CliRunner().invoke(app, ["passthrough", str(tmp_path), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["outcomes"]["intact"] == data["places"] > 10
    assert "| java |" in (tmp_path / "out" / "report.md").read_text()


def test_every_measured_language_is_in_the_table() -> None:
    assert len(LANGUAGES) == 22
    assert set(LANGUAGES) <= set(TABLE)
    assert set(GRAMMARS) <= set(TABLE)
