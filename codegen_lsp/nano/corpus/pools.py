"""Which pool a file belongs to, and how much of a large distribution is taken.

Decides by the path of a file and by whether its text is typed; reads no files itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from codegen_lsp.nano.corpus import sources

Pool = Literal["broad", "focus", "core"]
"""`core` is closest to what users write, `focus` is typed library code, `broad` is everything else."""

_TESTS = re.compile(
    r"""
    (?:^|/)(?:tests?|testing|_testing|idle_test|test_suite)/  # a folder of tests
    | (?:^|/)(?:test_[^/]*|[^/]*_test|conftest)\.py$          # a test file
    """,
    re.VERBOSE,
)
_MODERN = re.compile(r"->\s*\S|^from typing import|^from __future__ import annotations|\basync def\b", re.M)


@dataclass(frozen=True, slots=True)
class Rule:
    """Files whose path matches `pattern` form a group: at most `cap` characters of it are taken, into `pool`."""

    name: str
    pattern: str
    cap: int
    pool: Pool = "broad"


MEGA = 1_000_000
"""Characters; caps are multiples of it."""

RULES = (
    Rule("openai-generated", r"openai/(types|resources)/", 1_500_000, "focus"),
    Rule("openai", r"openai/", 3 * MEGA, "core"),
    Rule("transformers-models", r"transformers/models/[^/]+/(modeling|modular)_", 9 * MEGA),
    Rule("transformers-models-other", r"transformers/models/", 6 * MEGA),
    Rule(
        "transformers",
        r"transformers/(trainer|integrations|utils|cli|generation|data|distributed|[^/]*\.py)",
        12 * MEGA,
        "focus",
    ),
    Rule("transformers-rest", r"transformers/", 8 * MEGA),
    Rule("torch-testing", r"torch/testing/", 2 * MEGA),
    Rule(
        "torch-focus",
        r"torch/(distributed|utils|optim|nn|export|cuda|amp|_logging|serialization)",
        9 * MEGA,
        "focus",
    ),
    Rule("torch", r"torch(gen|audio|vision)?/|functorch/", 16 * MEGA),
    Rule("sympy", r"sympy/", 7 * MEGA),
    Rule("mpmath", r"mpmath/", 1 * MEGA),
    Rule("networkx", r"networkx/", 4 * MEGA),
    Rule("fonttools", r"fontTools/", 3 * MEGA),
    Rule("pygments", r"pygments/", 2 * MEGA),
    Rule("numpy", r"numpy/", 5 * MEGA),
    Rule("matplotlib", r"(matplotlib|mpl_toolkits|pylab)", 6 * MEGA),
    Rule("mypy", r"mypy(c)?/", 6 * MEGA, "focus"),
    Rule("pip", r"pip/", 3 * MEGA, "focus"),
    Rule("setuptools", r"(setuptools|pkg_resources|_distutils)", 2 * MEGA),
    Rule("fire", r"fire/", MEGA),
    Rule("pillow", r"PIL/", MEGA),
    Rule("pandas", r"pandas/", 4 * MEGA, "focus"),
    Rule("scipy", r"scipy/", 4 * MEGA),
    Rule("scikit-learn", r"sklearn/", 4 * MEGA),
    Rule("nltk", r"nltk/", 2 * MEGA),
)
"""The first match applies. A distribution that matches none is taken almost whole, into the `core` pool."""

_STDLIB_FOCUS = re.compile(
    r"""
    ^(
        asyncio|concurrent|http|logging|importlib|email|json|urllib|unittest|multiprocessing|collections  # packages
        |tomllib|wsgiref|zoneinfo|xmlrpc|sqlite3|ensurepip|venv|dbm|re|html|curses                        # and more
        |[a-z_]+\.py                                                                                      # modules
    )(/|$)
    """,
    re.VERBOSE,
)


def group_of(distribution: str, path: str, text: str) -> Rule:
    """Return the rule that applies to a file.

    For example, `openai/types/chat.py` falls under "openai-generated", `openai/tests/test_chat.py` under
    "openai-tests", and a file of a distribution without a rule under the distribution's name, in the `core` pool.
    """
    if distribution == sources.STDLIB:
        if _TESTS.search(path):
            return Rule("stdlib-tests", "", 3 * MEGA)
        return Rule("stdlib", "", 14 * MEGA, "focus" if _STDLIB_FOCUS.match(path) else "broad")
    rule = next(
        (rule for rule in RULES if re.match(rule.pattern, path)), Rule(distribution, "", 4 * MEGA, "core")
    )
    if _TESTS.search(path):
        return Rule(f"{rule.name}-tests", "", min(rule.cap // 6, MEGA // 2))
    if rule.pool != "broad" and not _MODERN.search(text):
        return Rule(rule.name, rule.pattern, rule.cap, "broad")
    return rule
