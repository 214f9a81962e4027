"""Let the stand-in model continue each place, and compare what an editor would insert with the file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen_lsp.evals.benchmarks.passthrough.places import Place, places_of
from codegen_lsp.evals.harness.files import walk
from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor, at_offset
from codegen_lsp.lsp.code.languages import language_of
from codegen_lsp.lsp.code.positions import offset_at
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.prompts.prompt import Prompt, PromptLimits, build
from codegen_lsp.lsp.prompts.token_counter import TokenCounter, estimate
from codegen_lsp.lsp.suggest import edits, filters, rank
from codegen_lsp.lsp.suggest.values import Candidate

LANGUAGES = (
    "python",
    "javascript",
    "typescript",
    "typescriptreact",
    "rust",
    "go",
    "java",
    "c",
    "cpp",
    "csharp",
    "kotlin",
    "php",
    "ruby",
    "lua",
    "swift",
    "yaml",
    "json",
    "html",
    "css",
    "shellscript",
    "markdown",
    "makefile",
)
"""The languages that are measured."""
OUTCOMES = ("intact", "cut", "dropped", "changed", "doubled")
_LARGEST = 64 * 1024
_SMALLEST = 200
_MINIFIED = 400
"""Characters of a line that make a file generated rather than written."""


@dataclass(frozen=True, slots=True)
class PassthroughSettings:
    """What makes two runs the same."""

    places: int = 60
    """Places of each kind in each language."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.places < 1:
            raise EvaluationError("the number of places must be positive")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a place."""

    place: Place
    outcome: str
    """One of `OUTCOMES`."""
    inserted: str
    note: str
    """Why it was dropped, and what the filters did."""


def evaluate(paths: Sequence[Path], settings: PassthroughSettings) -> Iterator[Arrival]:
    """Yield a finding for each place, language by language.

    Raises:
        EvaluationError: the paths hold no file of the measured languages.
    """
    files = find_files(paths)
    if not files:
        raise EvaluationError("the paths hold no source file of the measured languages")
    for name in LANGUAGES:
        for place in _spread(files.get(name, ()), name, settings):
            yield judge(place)


def find_files(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the files of each measured language, in order."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        for file in walk(path) if path.is_dir() else [path]:
            name = language_of(file)
            if name in LANGUAGES and _SMALLEST <= file.stat().st_size <= _LARGEST:
                files[name].append(file)
    return files


def _spread(files: Sequence[Path], name: str, settings: PassthroughSettings) -> list[Place]:
    """Return at most `settings.places` places of each kind, from as many files as possible."""
    kinds: dict[str, list[Place]] = defaultdict(list)
    step = max(1, len(files) // max(1, settings.places))
    share = max(1, -(-settings.places * 2 // max(1, min(len(files), settings.places))))
    for file in files[::step]:
        text = _read(file)
        if text is None:
            continue
        for place in places_of(str(file), name, text, settings.seed, share):
            kinds[place.kind].append(place)
    return [place for places in kinds.values() for place in _evenly(places, settings.places)]


def _evenly(places: Sequence[Place], count: int) -> Iterator[Place]:
    count = min(count, len(places))
    for index in range(count):
        yield places[index * len(places) // count]


def _read(path: Path) -> str | None:
    """Return a file's text; None for one that isn't UTF-8 or that a program wrote."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return None if max(map(len, text.split("\n"))) > _MINIFIED else text


def judge(place: Place) -> Arrival:
    """Return what an editor would insert at a place, and how that compares with the file."""
    cursor = at_offset(
        place.prefix + place.suffix, len(place.prefix), uri=f"file:///{place.path}", language=place.language
    )
    site = Site.of(cursor)
    prompt = build(site, PromptLimits(), TokenCounter(estimate))
    verdict = filters.run(_candidate(place, site, prompt), site, prompt)
    ranked, final = rank.rank([verdict], site)
    note = " | ".join([prompt.shape, *final[0].trail])
    if not ranked:
        return Arrival(place, "dropped", "", f"{final[0].reason}: {note}")
    (item,) = edits.inline_items(ranked, cursor, "utf-16", ["id"])
    assert item.range is not None
    document = place.prefix + place.suffix
    start, _ = offset_at(document, item.range.start.line, item.range.start.character, "utf-16")
    end, _ = offset_at(document, item.range.end.line, item.range.end.character, "utf-16")
    text = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
    result = document[:start] + text + document[end:]
    outcome = compare(place, result, ranked[0].candidate.replace)
    return Arrival(place, outcome, result[len(place.prefix) : len(result) - len(document) + end], note)


def compare(place: Place, result: str, replaced: int) -> str:
    """Return the outcome of a document after its edit, of which `replaced` characters after the gap are gone."""
    remaining = place.suffix[replaced:]
    if not (result.startswith(place.prefix) and result.endswith(remaining)):
        return "changed"
    inserted = _trimmed(result[len(place.prefix) : len(result) - len(remaining)])
    wanted = _trimmed(place.wanted + place.suffix[:replaced])
    gap = _trimmed(place.continuation[: None if place.gap is None else place.gap + replaced])
    if inserted == wanted or (inserted.startswith(wanted) and gap.startswith(inserted)):
        return "intact"
    if wanted.startswith(inserted):
        return "cut"
    if inserted.startswith(wanted) and not inserted[len(wanted) :].strip().strip(")]};,"):
        return "doubled"
    return "changed"


def _trimmed(text: str) -> str:
    """Return the text without white space at the ends of its lines."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip()


def _candidate(place: Place, site: Site, prompt: Prompt) -> Candidate:
    """Return what the stand-in model writes: the file, up to a stop string or until the stream is left."""
    text = place.continuation
    if site.shows_spaces:
        text = lines.with_spaces(text)
    stops = [end for end in map(text.find, prompt.stop) if end >= 0]
    limit = min(stops, default=len(text))
    for end, character in enumerate(text[:limit], start=1):
        if character == "\n" and filters.is_complete(text[:end], site, prompt):
            return Candidate(text[:end], -0.1, finish=None)
    finish = "stop" if stops or len(place.continuation) < 1500 else "length"
    return Candidate(text[:limit], -0.1, finish=finish)


__all__ = [
    "LANGUAGES",
    "OUTCOMES",
    "Arrival",
    "Cursor",
    "PassthroughSettings",
    "compare",
    "evaluate",
    "judge",
]
