"""The replay's report: keystrokes saved, suggestions shown and accepted, latencies, cache hits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.published import TYPING
from codegen_lsp.evals.benchmarks.replay.keyboard import Tally
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import percentile
from codegen_lsp.evals.harness.records import Folder, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOTALS = ("baseline", "pressed", "asked", "shown", "accepted", "accepted_characters", "late", "changes")
"""Fields of a tally that are summed over files."""


def summarise(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return the report's figures over these tallies."""
    total = {name: sum(getattr(tally, name) for tally in tallies) for name in TOTALS}
    latencies = [ms for t in tallies for ms in t.latencies]
    measured = [t for t in tallies if t.prefilled is not None and t.cached is not None]
    prefilled, cached = (sum(getattr(t, n) for t in measured) for n in ("prefilled", "cached"))
    changes = sum(t.changes for t in measured)

    def share(part: float, whole: float) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "files": len(tallies),
        "keystrokes_saved": share(total["baseline"] - total["pressed"], total["baseline"]),
        "shown_rate": share(total["shown"], total["asked"]),
        "accept_rate": share(total["accepted"], total["shown"]),
        "characters_per_accept": share(total["accepted_characters"], total["accepted"]),
        "late_rate": share(total["late"], total["asked"]),
        "latency_ms": {
            f"p{p}": round(percentile(latencies, p), 1) if latencies else None for p in (50, 95, 99)
        },
        "prefilled_per_keystroke": share(prefilled, changes),
        "cache_hit_rate": share(cached, cached + prefilled),
        **total,
    }


def write_report(folder: Folder, tallies: Sequence[Tally], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report's files, and return the content of its JSON."""
    names = list(dict.fromkeys(t.path for t in tallies))
    data: dict[str, Any] = {
        "evaluation": "replay",
        **about,
        **summarise(tallies),
        "by_file": {name: summarise([t for t in tallies if t.path == name]) for name in names},
        "published": TYPING,
    }
    latencies = sorted(ms for t in tallies for ms in t.latencies)
    traces = [{"seconds": round(t.typed_seconds, 3), "calls": t.trace} for t in tallies if t.trace]
    if traces:
        recording = {"model": data["model"], "traces": traces}
        write_atomically(folder.path / "typing.json", json.dumps(recording) + "\n")
    report.write(folder.path, data, _page(data), lambda axes: _draw(axes, latencies))
    return data


def _page(data: Mapping[str, Any]) -> list[str]:
    head = ["", "saved", "shown", "accepted", "characters per accept", "p50 ms", "p95 ms", "p99 ms"]
    head += ["prefilled per key", "cache hits"]
    rows = [_cells("**all**", data), *(_cells(name, figures) for name, figures in data["by_file"].items())]
    pace, within = data["settings"]["pace"], data["settings"]["within"]
    waiting = (
        "every answer was waited for" if not pace else f"typed at pace {pace:g}; late answers were not seen"
    )
    if within:
        waiting += f"; answers after {within:g} ms were not seen ({data['late_rate']:.1%})"
    return [
        f"# Typing replay: {data['model']}",
        "",
        (
            f"{data['files']} files through the language server, {data['baseline']} keys without help; "
            f"{waiting}. Saved: keys that were not pressed, of those that the text takes (accepting is one key, "
            "indentation after a line end none). Shown: positions with a suggestion. Accepted: suggestions that "
            "were right, of those shown; one that stays while it is typed through counts at every position."
        ),
        "",
        *report.table(head, rows),
        "",
        *_team(data.get("team")),
        "Published figures of other products, measured in other ways: "
        + "; ".join(f"{name}: {text}" for name, text in data["published"].items())
        + ".",
    ]


def _team(team: Mapping[str, Any] | None) -> list[str]:
    if team is None:
        return []
    reasons = "; ".join(f"{reason}: {count}" for reason, count in team["reasons"].items()) or "none"
    latency, shares = team["latency_ms"], (team["cached_share"], team["cached_at_a_key_share"])
    cached, at_a_key = ("–" if share is None else f"{100 * share:.1f} %" for share in shares)
    return [
        (
            f"{team['clients']} language servers at once; replicas: {team['replicas']}. Answered in time: "
            f"{team['requests']} requests, {team['answered']} by an engine (p50 {latency['p50']} ms, "
            f"p95 {latency['p95']} ms, p99 {latency['p99']} ms) and {team['from_memory']} from the language server's "
            f"memory. Prompt tokens from prefix caches: {cached}, and {at_a_key} of those that a key waited for; "
            "the others were read before a key asked. "
            f"Failed with a reason: {reasons}. Overtaken by the next key: {team['late']}; "
            f"never answered: {team['lost']}."
        ),
        "",
    ]


def _cells(name: str, figures: Mapping[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        value = figures[key]
        return "–" if value is None else f"{100 * value:.1f} %"

    def number(value: float | None) -> str:
        return "–" if value is None or math.isnan(value) else f"{value:.1f}"

    latency = figures["latency_ms"]
    return [
        name,
        *(percent(key) for key in ("keystrokes_saved", "shown_rate", "accept_rate")),
        number(figures["characters_per_accept"]),
        *(number(latency[p]) for p in ("p50", "p95", "p99")),
        number(figures["prefilled_per_keystroke"]),
        percent("cache_hit_rate"),
    ]


def _draw(axes: Axes, latencies: Sequence[float]) -> None:
    if not latencies:
        axes.set_title("No answer came in time")
        return
    shares = [100 * (n + 1) / len(latencies) for n in range(len(latencies))]
    axes.plot(latencies, shares)
    for percent in (50, 95, 99):
        value = percentile(latencies, percent)
        axes.axvline(value, linestyle=":", color="0.5", linewidth=1)
        axes.annotate(f"p{percent} {value:.0f} ms", (value, percent - 8), fontsize=8, rotation=90, ha="right")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the key to its answer")
    axes.set_ylabel("answers, percent")
    axes.set_title("Latency of suggestions while typing")
