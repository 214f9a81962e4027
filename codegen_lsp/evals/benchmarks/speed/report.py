"""The report of a run: a table of medians, ratios to llama.cpp and to the machine's bandwidth, and a picture."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from codegen_lsp.evals.benchmarks.speed.values import (
    LLAMA_CPP,
    MACHINE,
    OURS,
    ContenderSpec,
    SpeedSettings,
    label,
    tasks,
)
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import percentile
from codegen_lsp.evals.harness.records import Folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOISY = 0.15
"""Spread of the machine's bandwidth, as a part of its median, from which on the machine was too noisy to tell."""

REFERENCE = f"{OURS} float32"
"""The engine whose accuracy is the reference."""


@dataclass
class EngineFigures:
    """What was measured of one engine."""

    name: str
    weight_bytes: int = 0
    missing: str = ""
    """Why it did not take part."""
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, task: str) -> float | None:
        """Return the median of a task; None if it was not measured."""
        return statistics.median(self.values[task]) if self.values.get(task) else None

    def spread(self, task: str) -> float:
        """Return the distance of the quartiles of a task's values."""
        return percentile(self.values[task], 75) - percentile(self.values[task], 25)

    def cell(self, task: str) -> str:
        """Return the median and the spread as a table shows them."""
        median = self.median(task)
        return "–" if median is None else f"{median:.3g} ± {self.spread(task) / 2:.2g}"


def write_report(
    folder: Folder, settings: SpeedSettings, specs: Sequence[ContenderSpec], text_bytes: int
) -> dict[str, Any]:
    """Write the report's files and return its data."""
    engines = _figures(folder, specs)
    machine = engines.pop(MACHINE)
    bandwidth = machine.median("bandwidth") or 0.0
    noise = machine.spread("bandwidth") / bandwidth if bandwidth else 0.0
    columns = [label(task) for task in tasks(settings)]
    data = {
        "settings": asdict(settings),
        "cores": os.cpu_count(),
        "bandwidth": {"bytes_per_second": round(bandwidth), "spread": round(noise, 3)},
        "too_noisy": noise > NOISY,
        "engines": [_engine_json(e, engines, columns, bandwidth, text_bytes) for e in engines.values()],
    }
    report.write(folder.path, data, _page(data, engines, columns), lambda axes: _draw(axes, data, columns))
    return data


def _figures(folder: Folder, specs: Sequence[ContenderSpec]) -> dict[str, EngineFigures]:
    engines = {spec.name: EngineFigures(spec.name) for spec in specs}
    for record in folder.log("engines").records:
        engine = engines[record["engine"]]
        engine.weight_bytes, engine.missing = record.get("value", 0), record.get("error", "")
    for record in folder.log("values").records:
        engine = engines[record["engine"]]
        if "error" in record:
            engine.failures[record["task"]] = record["error"]
        elif record["value"] is not None:
            engine.values[record["task"]].append(record["value"])
    return engines


def _engine_json(
    engine: EngineFigures,
    engines: Mapping[str, EngineFigures],
    columns: Sequence[str],
    bandwidth: float,
    text_bytes: int,
) -> dict[str, Any]:
    peer = engines.get(LLAMA_CPP)
    measured = [task for task in columns if engine.median(task) is not None]
    limit = engine.weight_bytes / bandwidth * 1000 if bandwidth else 0.0
    bits, exact = engine.median("bits"), engines.get(REFERENCE, EngineFigures(REFERENCE)).median("bits")
    return {
        "name": engine.name,
        "missing": engine.missing,
        "failures": engine.failures,
        "weight_mib": round(engine.weight_bytes / 2**20, 1),
        "memory_mib": engine.median("memory"),
        "milliseconds": {task: round(engine.median(task) or 0.0, 4) for task in measured},
        "spread": {task: round(engine.spread(task), 4) for task in measured},
        "of_llama_cpp": {
            task: round((engine.median(task) or 0.0) / other, 3)
            for task in measured
            if peer is not None and (other := peer.median(task))
        },
        "of_bandwidth": {
            task: round((engine.median(task) or 0.0) / limit, 3)
            for task in measured
            if limit and task.startswith("decode") and "×" not in task
        },
        "bits_per_byte": round(bits / text_bytes, 4) if bits is not None else None,
        "bits_more": round(bits / exact - 1, 5) if bits is not None and exact else None,
    }


def _page(data: Mapping[str, Any], engines: Mapping[str, EngineFigures], columns: Sequence[str]) -> list[str]:
    settings, bandwidth = data["settings"], data["bandwidth"]
    rounds, speed = settings["rounds"], bandwidth["bytes_per_second"] / 1e9
    present = [row for row in data["engines"] if row["milliseconds"]]
    method = (
        f"Milliseconds: median ± half the distance of the quartiles over {rounds} rounds, in which the engines took "
        f"turns. {data['cores']} cores; memory is read at {speed:.1f} GB/s (spread {bandwidth['spread']:.0%})."
    )
    lines = [f"# Speed of {settings['model']}", "", method, ""]
    if data["too_noisy"]:
        lines += ["**The machine was too noisy to tell: trust ratios that differ by a factor only.**", ""]
    lines += report.table(
        ["engine", *columns], [[row["name"], *map(engines[row["name"]].cell, columns)] for row in present]
    )
    head = [
        "engine",
        *(f"{c} / llama.cpp" for c in columns if c.startswith(("decode", "prefill")) and "×" not in c),
    ]
    head += ["decode / bandwidth limit", "weights, MiB", "memory, MiB", "bits per byte", "more than float32"]
    lines += ["", *report.table(head, [_ratios(row, head) for row in present]), ""]
    for row in data["engines"]:
        failed: dict[str, list[str]] = {}
        for task, why in row["failures"].items():
            failed.setdefault(why, []).append(task)
        reasons = [row["missing"], *(f"{', '.join(tasks)}: {why}" for why, tasks in failed.items())]
        lines += [f"- {row['name']} was not measured: {why}" for why in reasons if why]
    return lines


def _ratios(row: Mapping[str, Any], head: Sequence[str]) -> list[object]:
    ratios = [row["of_llama_cpp"].get(name.removesuffix(" / llama.cpp"), "–") for name in head[1:-5]]
    limit = next(iter(row["of_bandwidth"].values()), "–")
    memory = "–" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}"
    bits = "–" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.4f}"
    more = "–" if row["bits_more"] is None else f"{row['bits_more']:+.2%}"
    return [row["name"], *ratios, limit, f"{row['weight_mib']:.0f}", memory, bits, more]


def _draw(axes: Axes, data: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Draw the decoding steps of one row as bars."""
    shown = [column for column in columns if column.startswith("decode") and "×" not in column]
    rows = [row for row in data["engines"] if row["milliseconds"]]
    height = 0.8 / len(shown)
    for number, column in enumerate(shown):
        places = [index + (number - (len(shown) - 1) / 2) * height for index in range(len(rows))]
        axes.barh(places, [row["milliseconds"].get(column, 0) for row in rows], height, label=column)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds per step")
    axes.legend(frameon=False)
