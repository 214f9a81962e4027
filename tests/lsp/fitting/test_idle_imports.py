"""Imports that nothing uses yet, and what an expression at the cursor may start with for one of them to be used."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.golden import cursor, site

from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.fitting.idle_imports import idle_imports, idle_imports_at, words_for_idle_imports
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.suggest.generation import hinted_request

IMPORTS = "from dataclasses import dataclass, fields, replace\nimport json\n\n@dataclass\nclass A: ...\n"


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ("import os\nimport sys\nsys.exit()\n", {"os"}),
        ("import os.path as p, json\nprint(json)\n", {"p"}),
        ("import os.path\n", {"os"}),
        ("from a.b import (\n    c,  # d\n    e as f,\n)\nprint(c)\n", {"f"}),
        ("from __future__ import annotations\n", set()),
        ('from a import b\n__all__ = ["b"]\n', set()),
        ("def f():\n    from a import b\n", {"b"}),
        ("from a import *\n", set()),
        ("from a import \nx = 1\n", set()),
        ("x = 1\n", set()),
    ],
)
def test_imports_that_nothing_uses(text: str, idle: set[str]) -> None:
    assert idle_imports(text) == idle


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("for x in ‸", {"fields", "json", "replace"}),
        ("for x in fi‸", {"elds"}),
        ("x = f(re‸)", {"place"}),
        ("return ‸", {"fields", "json", "replace"}),
        ("print(1, ‸)", {"fields", "json", "replace"}),
        ("if not js‸", {"on"}),
        ("for ‸", set()),
        ("‸", set()),
        ("fi‸", set()),
        ("x.fi‸", set()),
        ("x = fi‸nd", set()),
        ("x = fields‸", set()),
        ("x = 'fi‸'", set()),
        ("# = fi‸", set()),
        ("x = " + "(" * 400 + "‸", set()),
    ],
)
def test_an_expression_may_start_with_one(line: str, words: set[str]) -> None:
    assert set(words_for_idle_imports(site(IMPORTS + line + "\n"))) == words


def test_other_languages_have_none() -> None:
    assert words_for_idle_imports(site("import a\nx = ‸\n", "javascript")) == ()


def test_the_names_of_a_package_are_for_others() -> None:
    at = cursor("import a\nx = ‸\n")
    assert idle_imports_at(Site.of(at)) == {"a"}
    assert idle_imports_at(Site.of(replace(at, uri="file:///p/__init__.py"))) == frozenset()


def test_one_candidate_more_begins_with_one_of_them() -> None:
    at = site("import json\n\n\ndef f(x):\n    return js‸\n")
    prompt = replace(build(at, PromptLimits(), estimate), offers=words_for_idle_imports(at))
    request = hinted_request(prompt, extensions=True)
    assert request.words == ("on",)
    assert request.n == 1
    assert request.prompts[0].endswith("return js")
