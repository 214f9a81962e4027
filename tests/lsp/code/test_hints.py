"""What the code around an empty line says of it; and what then reaches the model and the user."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import cursor, site

from codegen_lsp.lsp.code.hints import opening
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.prompt import PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest import filters
from codegen_lsp.lsp.suggest.generation import hinted_request, to_request
from codegen_lsp.lsp.suggest.values import Candidate

HEAD = "def f(xs):\n"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        # Names that are used below and bound nowhere.
        (HEAD + "‸\n    for x in xs:\n        total += x\n    return total\n", "    total ="),
        (HEAD + "    ‸\n    for x in xs:\n        total += x\n    return total\n", "total ="),
        (HEAD + "    to‸\n    return total\n", "tal ="),
        (HEAD + "    y=1\n‸\n    return y, total\n", "    total="),
        (HEAD + "    total = 0\n‸\n        total += x\n    return total\n", "    for"),
        (
            "if y:\n    z = 2\n\n"
            + HEAD
            + "‸\n        return t == t[::-1]\n    return [x for x in xs if even(x)]\n",
            "    def even(",
        ),
        (HEAD + "‸\n    return math.floor(xs[0])\n", "    import"),
        # Places.
        (HEAD + "    if xs:\n‸\n    return 2\n", "        "),
        (HEAD + "    if xs:\n        return 1\n‸\n        return 2\n", "    "),
        (HEAD + "    if xs:\n        return 1\n‸\n    return 2\n", "    "),
        ("class A:\n\tdef f(self):\n‸\n\t\treturn self.y\n", "\t\t"),
        (HEAD + '    """Sums.\n\n    x\n    """\n‸\n    return xs\n', "    "),
        # Two names are bound nowhere.
        (HEAD + "    a = 1\n‸\n    return b, c\n", "    "),
    ],
)
def test_how_a_line_starts(text: str, start: str) -> None:
    assert opening(site(text)) == start


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "    y = 1\n‸\n",
        HEAD + "    for x in xs:\n        y = x\n‸\n    return y\n",
        HEAD + "    return ‸\n",
        HEAD + "    el‸\n    return total\n",
        HEAD + "    ‸total\n    return total\n",
        HEAD + "    x = [\n‸\n        total,\n    ]\n",
        HEAD + "‸\n        1,\n    ]\n",
        HEAD + '    x = """\n‸\n    """\n    return total\n',
        "‸",
        "\n\n‸\n\n",
        "‸\nprint(x)\n",
        "x = 1\n‸\nprint(x, y)\n",
    ],
)
def test_nothing_is_said_where_nothing_is_certain(text: str) -> None:
    assert opening(site(text)) == ""


@pytest.mark.parametrize(
    "elsewhere",
    [
        "import total\n",
        "from a import (\n    other,\n    total,\n)\n",
        "from a import *\n",
        "try:\n    import total\nexcept ImportError:\n    total = None\n",
        "if True:\n    total = 1\n",
        "total = 1\n",
        "def total():\n    pass\n",
    ],
)
def test_a_name_of_the_file_is_bound(elsewhere: str) -> None:
    body = HEAD + "‸\n    return total.x\n"
    assert opening(site(elsewhere + "\n\n" + body)) == "    "
    assert opening(site(body + "\n\n" + elsewhere)) == "    "


@pytest.mark.parametrize("use", ["y.total", "g(total=1)", "[total for total in xs]", "'total'", "y  # total"])
def test_what_only_looks_like_a_use_of_a_name(use: str) -> None:
    assert opening(site(f"y = g = 1\n\n\n{HEAD}‸\n    return {use}\n")) == "    "


def test_other_functions_names_are_their_own() -> None:
    other = "def g():\n    total = 1\n    return total\n\n\n"
    assert opening(site(other + HEAD + "‸\n    return total\n")) == "    total ="


def test_a_called_name_is_imported_or_defined_elsewhere() -> None:
    assert opening(site(HEAD + "‸\n    return Path(xs)\n")) == "    "


def test_other_languages_have_no_hints() -> None:
    assert opening(site("int f() {\n‸\n    return total;\n}\n", "c")) == ""


def test_line_endings_and_marks_make_no_difference() -> None:
    assert opening(site("\ufeff" + HEAD.replace("\n", "\r\n") + "‸\r\n    return total\r\n")) == "    total ="


@settings(deadline=None)
@given(
    st.text(alphabet="ab=:()[]'\"\\\n \t#.,é😀", max_size=80), st.text(alphabet="ab=:()\n \t.", max_size=40)
)
def test_any_document_has_an_answer(before: str, after: str) -> None:
    assert "\n" not in opening(site(f"def f(a):\n{before}‸{after}"))


def test_a_long_file_costs_little() -> None:
    function = "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n\n\n"
    at = cursor(function * 2000 + HEAD + "‸\n    return missing\n")
    started = time.process_time()
    assert opening(Site.of(at)) == "    missing ="
    assert time.process_time() - started < 0.5


def test_one_candidate_more_starts_with_the_hint_and_the_others_are_free() -> None:
    at = cursor(HEAD + "‸\n    return total\n")
    prompt = build(Site.of(at), PromptLimits(), estimate, "line")
    free = to_request(prompt, Options(candidates=3), extensions=True, invoked=False)
    assert free.prompts == (HEAD,)
    assert free.n == 2
    hinted = hinted_request(prompt, extensions=True)
    assert hinted.prompts == (HEAD + "    total =",)
    assert hinted.n == 1
    assert not hinted.heal
    assert hinted.stop == ("\n",)
    assert (
        filters.run(Candidate("    total = 0", -0.5), Site.of(at), prompt).candidate.text == "    total = 0"
    )
    assert filters.run(Candidate("    total =", -0.5), Site.of(at), prompt).reason == Reason.EMPTY
