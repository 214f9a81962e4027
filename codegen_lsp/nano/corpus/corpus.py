"""Builds the corpus: what a model may learn from, cleaned, without duplicates and without anything held out.

Reads source files through `sources`; writes `corpus.jsonl` (one document a line) and `manifest.json`.
Knows nothing about tokens of the model.
"""

from __future__ import annotations

import hashlib
import json
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.windows import Hashes, sampled, window_hashes
from codegen_lsp.wire.errors import CodegenError

Pool = Literal["broad", "focus", "core"]

LEAK_WIDTH = 50
"""A file that shares a window of this many lexical tokens with a held-out file is not learnt from."""

_NEAR_WIDTH, _NEAR_SAMPLE, _NEAR_SHARE = 12, 8, 0.5
_MIN_CHARS, _MAX_CHARS = 200, 400_000

_SKIPPED_FOLDERS = {
    "_vendor",
    "_vendored",
    "vendored",
    "vendor",
    "third_party",
    "extern",
    "lib2to3",
    "idlelib",
    "turtledemo",
}
_GENERATED = re.compile(
    r"auto-?\s?generated|automatically (?:generated|created)|generated (?:by|from|automatically)"
    r"|do not (?:edit|modify)",
    re.I,
)
_TESTS = re.compile(
    r"(?:^|/)(?:tests?|testing|_testing|idle_test|test_suite)/|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest)\.py$"
)
_MODERN = re.compile(r"->\s*\S|^from typing import|^from __future__ import annotations|\basync def\b", re.M)


class CorpusError(CodegenError):
    """The corpus, or what is made of it, is not there or too small."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Files whose path matches `pattern` belong together: at most `cap` characters of them, in `pool`."""

    name: str
    pattern: str
    cap: int
    pool: Pool = "broad"


MEGA = 1_000_000
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
"""First match counts. A small typed library matches none, and is in the `core` pool, hardly capped."""

_STDLIB_FOCUS = re.compile(
    r"^(asyncio|concurrent|http|logging|importlib|email|json|urllib|unittest|multiprocessing|collections|tomllib|wsgiref"
    r"|zoneinfo|xmlrpc|sqlite3|ensurepip|venv|dbm|re|html|curses|[a-z_]+\.py)(/|$)"
)


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One file to learn from. `pool` says whether it also belongs to the last part of a training."""

    distribution: str
    path: str
    pool: Pool
    text: str
    sha256: str


@dataclass(slots=True)
class ManifestEntry:
    """What the manifest says of one distribution."""

    version: str
    licence: str
    files: int = 0
    bytes: int = 0
    sha256: dict[str, str] = field(default_factory=dict)
    """First 16 hexadecimal digits of the hash of each file as installed, by path."""


def read_source(path: Path) -> str | None:
    """The text of a Python file with its declared encoding and `\\n` line ends; None if it is not text."""
    try:
        with tokenize.open(path) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def as_document(text: str) -> str:
    """The text as models see it, in training and in evaluation: without a licence notice at its head.

    The same notice opens thousands of files; no user wants it completed, and it would count as shared with
    what is held out.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].startswith("#")):
        start += 1
    head = "\n".join(lines[:start])
    if re.search(r"copyright|licen[sc]e", head, re.IGNORECASE):
        lines = lines[start:]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def rejection(text: str) -> str | None:
    """Why a text is not worth learning from, as a reason code; None where it is."""
    if not _MIN_CHARS <= len(text) <= _MAX_CHARS:
        return "size"
    lines = text.split("\n")
    if max(map(len, lines)) > 1000 or len(text) / len(lines) > 80:
        return "long-lines"
    visible = re.sub(r"\s", "", text)
    letters = sum(map(str.isalpha, visible))
    if letters < 0.55 * len(visible) or len(visible.encode()) > 1.1 * len(visible):
        return "table"
    return None


def held_out_windows() -> Hashes:
    """The sorted hashes of all windows of `LEAK_WIDTH` lexical tokens in the held-out distributions."""
    parts = [
        window_hashes(text, LEAK_WIDTH)
        for distribution in sources.held_out()
        for _, path in distribution.files
        if (text := held_out_text(path)) is not None
    ]
    return np.unique(np.concatenate(parts))


def held_out_text(path: Path) -> str | None:
    """The text of a held-out file as `as_document` gives it; None if it is not text."""
    text = read_source(path)
    return None if text is None else as_document(text)


def leaks(text: str, forbidden: Hashes) -> bool:
    """Whether any window of the text is among the sorted hashes."""
    hashes = window_hashes(text, LEAK_WIDTH)
    places = np.searchsorted(forbidden, hashes)
    places[places == len(forbidden)] = 0
    return bool(np.any(forbidden[places] == hashes)) if len(forbidden) else False


def group_of(distribution: str, path: str, text: str) -> Rule:
    """The rule that a file falls under."""
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


class NearDuplicates:
    """Remembers sampled windows of what was kept; a text made mostly of them is a near duplicate."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def keeps(self, text: str) -> bool:
        """Whether less than half of the text was seen before; if so, it now counts as seen."""
        windows = set(sampled(window_hashes(text, _NEAR_WIDTH), _NEAR_SAMPLE).tolist())
        if windows and len(windows & self._seen) > _NEAR_SHARE * len(windows):
            return False
        self._seen |= windows
        return True


def candidates(
    distributions: Iterable[sources.Distribution],
) -> Iterator[tuple[sources.Distribution, str, Path]]:
    """The files of the distributions, in an order that is mixed but the same on every machine."""
    files = [
        (found, name, path)
        for found in distributions
        for name, path in found.files
        if not _SKIPPED_FOLDERS & set(name.split("/"))
    ]
    return iter(sorted(files, key=lambda item: hashlib.sha256(f"{item[0].name}/{item[1]}".encode()).digest()))


def select(
    distributions: Iterable[sources.Distribution], forbidden: Hashes, dropped: Counter[str]
) -> Iterator[CorpusDocument]:
    """The documents to learn from; `dropped` counts the others by reason."""
    exact: set[str] = set()
    near = NearDuplicates()
    used: Counter[str] = Counter()
    for found, name, path in candidates(distributions):
        raw = read_source(path)
        if raw is None:
            dropped["unreadable"] += 1
            continue
        text = as_document(raw)
        reason = rejection(text)
        rule = group_of(found.name, name, text)
        if reason is None and _GENERATED.search(raw[:1500]) and rule.name != "openai-generated":
            reason = "generated"
        digest = hashlib.sha256(text.encode()).hexdigest()
        if reason is None and digest in exact:
            reason = "duplicate"
        if reason is None and used[rule.name] + len(text) > rule.cap:
            reason = "over-cap"
        if reason is None and leaks(text, forbidden):
            reason = "held-out"
        if reason is None and not near.keeps(text):
            reason = "near-duplicate"
        if reason is not None:
            dropped[reason] += 1
            continue
        exact.add(digest)
        used[rule.name] += len(text)
        yield CorpusDocument(found.name, name, rule.pool, text, hashlib.sha256(path.read_bytes()).hexdigest())


def build(
    work: Path, distributions: Iterable[sources.Distribution] | None = None
) -> dict[str, ManifestEntry]:
    """Write `corpus.jsonl` and `manifest.json` into `work`; returns the manifest's entries by distribution.

    Without `distributions`, all that are installed and permissive are taken.
    """
    chosen = list(sources.trainable() if distributions is None else distributions)
    entries = {found.name: ManifestEntry(found.version, found.licence) for found in chosen}
    dropped: Counter[str] = Counter()
    pools: Counter[str] = Counter()
    work.mkdir(parents=True, exist_ok=True)
    with (work / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for document in select(chosen, held_out_windows(), dropped):
            entry = entries[document.distribution]
            size = len(document.text.encode())
            entry.files += 1
            entry.bytes += size
            entry.sha256[document.path] = document.sha256[:16]
            pools[document.pool] += size
            stream.write(json.dumps(asdict(document)) + "\n")
    entries = {name: entry for name, entry in sorted(entries.items()) if entry.files}
    summary = {
        "held_out": list(sources.HELD_OUT),
        "dropped_files": dict(sorted(dropped.items())),
        "bytes_by_pool": dict(sorted(pools.items())),
        "distributions": {name: asdict(entry) for name, entry in entries.items()},
    }
    (work / "manifest.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return entries


def documents(work: Path) -> Iterator[CorpusDocument]:
    """The documents that `build` wrote, in its order."""
    path = work / "corpus.jsonl"
    if not path.exists():
        raise CorpusError(f"{path} does not exist: run `python -m codegen_lsp.nano corpus` first")
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield CorpusDocument(**json.loads(line))
