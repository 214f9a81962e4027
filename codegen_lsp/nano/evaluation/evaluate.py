"""Measures predictors on held-out code, all in the same way, and writes the figures as tables.

Knows the held-out files and the protocol in `predictors`, not how a model was trained.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from codegen_lsp.nano.corpus.heldout import HeldOut, HeldOutFile
from codegen_lsp.nano.evaluation.cuts import Cut
from codegen_lsp.nano.evaluation.predictors import BufferWords, LanguageModel, NGramPredictor, Predictor

PredictorFactory = Callable[[], Predictor]


@dataclass(slots=True)
class Measures:
    """The figures of one predictor. Shares are in [0, 1]; NaN for a share of nothing."""

    name: str
    bits_per_byte: float | None
    exact: float
    exact_at_start: float
    exact_inside: float
    similarity: float
    shown: float
    shown_and_right: float
    right_of_shown: float
    seconds: float
    bits_per_byte_of: dict[str, float] = field(default_factory=dict)
    """Bits per byte by held-out distribution."""


COLUMNS: tuple[tuple[str, str], ...] = (
    ("bits per byte", "bits_per_byte"),
    ("exact", "exact"),
    ("exact at a line's start", "exact_at_start"),
    ("exact inside a line", "exact_inside"),
    ("edit similarity", "similarity"),
    ("shown and right", "shown_and_right"),
    ("shown", "shown"),
    ("right of shown", "right_of_shown"),
)


def levenshtein(a: str, b: str) -> int:
    """Return the minimum number of characters to insert, delete or replace that turns `a` into `b`."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def similarity(suggested: str, actual: str) -> float:
    """Return one minus the share of characters to edit: 1 for equal texts, 0 for nothing in common."""
    longest = max(len(suggested), len(actual))
    return 1.0 - levenshtein(suggested, actual) / longest if longest else 1.0


def bits_per_byte(
    predictor: Predictor, files: Iterable[HeldOutFile]
) -> tuple[float | None, dict[str, float]]:
    """Return the figure of all files together, and by distribution; None if the predictor has no probabilities."""
    nats: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for file in files:
        cost = predictor.nats(file.text)
        if cost is None:
            return None, {}
        nats[file.distribution] = nats.get(file.distribution, 0.0) + cost
        sizes[file.distribution] = sizes.get(file.distribution, 0) + len(file.text.encode())
    total = sum(nats.values()) / math.log(2) / sum(sizes.values())
    return total, {name: nats[name] / math.log(2) / sizes[name] for name in sorted(nats)}


def _is_shown(confidence: float, threshold: float) -> bool:
    return math.isnan(confidence) or confidence >= threshold


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def measure(predictor: Predictor, held_out: HeldOut, cuts: Sequence[Cut], threshold: float) -> Measures:
    """Measure one predictor.

    `threshold` is the minimum mean log-probability, in nats, from which the language server shows a suggestion.
    """
    began = time.monotonic()
    whole, by_distribution = bits_per_byte(predictor, held_out.files)
    exact: list[float] = []
    similar: list[float] = []
    shown: list[float] = []
    for cut in cuts:
        suggestion = predictor.complete(cut.prefix)
        text = suggestion.text if suggestion else ""
        exact.append(float(text == cut.target.rstrip()))
        similar.append(similarity(text, cut.target.rstrip()))
        shown.append(float(suggestion is not None and _is_shown(suggestion.confidence, threshold)))
    both = [right * seen for right, seen in zip(exact, shown, strict=True)]
    return Measures(
        name=predictor.name,
        bits_per_byte=whole,
        exact=_mean(exact),
        exact_at_start=_mean([right for right, cut in zip(exact, cuts, strict=True) if cut.at_start]),
        exact_inside=_mean([right for right, cut in zip(exact, cuts, strict=True) if not cut.at_start]),
        similarity=_mean(similar),
        shown=_mean(shown),
        shown_and_right=_mean(both),
        right_of_shown=sum(both) / sum(shown) if any(shown) else math.nan,
        seconds=time.monotonic() - began,
        bits_per_byte_of=by_distribution,
    )


def factories(nano: Path, models: Sequence[str], device: str, counts: Path | None) -> list[PredictorFactory]:
    """Return functions that create nano, the baselines and other checkpoints, in the order of the tables.

    `counts` is the work folder of the 5-gram baseline; None leaves the baselines out.
    """
    predictors: list[PredictorFactory] = [partial(LanguageModel, "nano", nano, device)]
    if counts is not None:
        predictors += [partial(NGramPredictor.fitted, counts), BufferWords]
    return predictors + [partial(LanguageModel, name, name, device) for name in models]


def measure_all(
    predictors: Iterable[PredictorFactory], held_out: HeldOut, cuts: Iterable[Cut], threshold: float
) -> Iterator[Measures]:
    """Measure one predictor after another, each created when its turn comes."""
    ordered = sorted(cuts, key=lambda cut: (cut.distribution, cut.path, len(cut.prefix)))
    for create in predictors:
        yield measure(create(), held_out, ordered, threshold)


def _cell(value: float | None, column: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if column == "bits_per_byte" else f"{100 * value:.1f} %"


def markdown(results: Sequence[Measures]) -> str:
    """Return two tables, each with one row per predictor: all figures, then bits per byte by distribution."""
    head = [title for title, _ in COLUMNS]
    lines = [f"| | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
    for result in results:
        cells = [_cell(getattr(result, column), column) for _, column in COLUMNS]
        lines.append(f"| {result.name} | {' | '.join(cells)} |")
    names = sorted({name for result in results for name in result.bits_per_byte_of})
    if not names:
        return "\n".join(lines) + "\n"
    lines += ["", f"| bits per byte | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    lines += [
        f"| {result.name} | {' | '.join(f'{result.bits_per_byte_of[name]:.3f}' for name in names)} |"
        for result in results
        if result.bits_per_byte_of
    ]
    return "\n".join(lines) + "\n"


def write(
    results: Sequence[Measures], settings: dict[str, Any], folder: Path, stem: str = "evaluation"
) -> None:
    """Write `<stem>.json` with all figures and settings, and `<stem>.md` with the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in _fields(result)
        }
        for result in results
    ]
    (folder / f"{stem}.json").write_text(
        json.dumps({**settings, "results": rows}, indent=1) + "\n", encoding="utf-8"
    )
    (folder / f"{stem}.md").write_text(markdown(results), encoding="utf-8")


def from_json(row: dict[str, Any]) -> Measures:
    """Return the measures in a row of `evaluation.json`."""
    shares = {name: math.nan if value is None else value for name, value in row.items()}
    return Measures(**{**shares, "bits_per_byte": row["bits_per_byte"]})


def _fields(result: Measures) -> list[tuple[str, Any]]:
    return [(name, getattr(result, name)) for name in Measures.__slots__]
