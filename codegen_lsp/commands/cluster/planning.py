"""`codegen-lsp cluster plan`: how many replicas and GPUs a team needs; and `compare`: how a measured replay differs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp.commands.options import AsJson, Seed, with_options
from codegen_lsp.commands.terminal import console, say, say_json
from codegen_lsp.wire.config import ConfigError, expanded

if TYPE_CHECKING:
    from codegen_lsp.cluster.plan.service import Service
    from codegen_lsp.cluster.plan.sizing import Goal


@dataclass(frozen=True)
class PlanOptions:
    """The team, its model and its machines."""

    developers: Annotated[int, typer.Option(help="Number of developers.", min=1, max=10_000_000)]
    model: Annotated[
        str, typer.Option(help="Size of CodeGen: 350M, 2B, 6B or 16B, with or without -mono.")
    ] = "2B-mono"
    gpu: Annotated[str, typer.Option(help="l4, a10g, l40s, a100, h100, h200 or mi300x.")] = "h100"
    gpus_per_replica: Annotated[int, typer.Option(help="GPUs of one replica.", min=1, max=64)] = 1
    measured: Annotated[
        Path | None,
        typer.Option(help="File of service times that were measured (JSON), instead of --model and --gpu."),
    ] = None
    p95: Annotated[float, typer.Option(help="Milliseconds that 95 of 100 answers may take.", min=1)] = 300
    active: Annotated[
        float, typer.Option(help="Share of the time in which a developer types.", min=0.01, max=1)
    ] = 0.2
    seconds: Annotated[float, typer.Option(help="Length of each simulation.", min=5, max=3600)] = 60
    seed: Seed = 0

    def service(self) -> Service:
        """Return the service times of one replica.

        Raises:
            ConfigError: the model or the GPU is unknown, or the file can't be read.
        """
        from codegen_lsp.cluster.plan import service
        from codegen_lsp.cluster.plan.accelerators import DEVICES
        from codegen_lsp.engine.checkpoints.dimensions import SIZES, dimensions_of

        if self.measured is not None:
            return service.read(expanded(self.measured))
        dimensions = dimensions_of(self.model)
        if dimensions is None:
            raise ConfigError(f"expected a model of {', '.join(SIZES)}, got {self.model[:60]!r}")
        if self.gpu.lower() not in DEVICES:
            raise ConfigError(f"expected a GPU of {', '.join(DEVICES)}, got {self.gpu[:60]!r}")
        return service.computed(dimensions, DEVICES[self.gpu.lower()], self.gpus_per_replica)

    def goal(self) -> Goal:
        """Return the developers that the cluster must serve, and how fast."""
        from codegen_lsp.cluster.plan.sizing import Goal

        return Goal(self.developers, self.p95 / 1e3, self.active, self.seconds, self.seed)


@with_options
def plan(
    options: PlanOptions,
    traces: Annotated[
        Path | None, typer.Option(help="Recorded typing, of eval replay --trace; a recording is bundled.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="File for a picture of the latencies (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate developers who type against replicas, and say how many replicas they need."""
    from codegen_lsp.cluster.plan import sizing
    from codegen_lsp.cluster.plan.traces import BUNDLED, read

    service = options.service()
    recording = read(expanded(traces) if traces else BUNDLED)
    with console(errors=True).status("simulating") as spinner:
        size = sizing.size(options.goal(), service, recording, spinner.update)
    gpus = None if options.measured else size.replicas * options.gpus_per_replica
    figures = {**size.to_json(), "gpus": gpus, "assumptions": _assumptions(options, service)}
    if picture is not None:
        _draw(expanded(picture), size, options)
    if as_json:
        say_json(figures, indent=2)
        return
    for line in _lines(options, figures):
        say(line)


def compare(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a replay with several clients (eval replay --clients).")
    ],
    quiet: Annotated[
        Path,
        typer.Option(help="Folder of a replay with few clients on the same replicas, for the service times."),
    ],
    replicas: Annotated[int, typer.Option(help="Replicas that answered it.", min=1, max=1000)] = 2,
    processors: Annotated[
        int,
        typer.Option(
            help="Processors that replicas and language servers share; 0 if each has its own.", min=0
        ),
    ] = 0,
    cache: Annotated[int, typer.Option(help="Tokens that a replica's prefix cache holds.", min=1)] = 200_000,
    times: Annotated[
        Path | None, typer.Option(help="File to write the service times to, for plan --measured.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate the keys of a replay, and say how far the latencies are from those that were measured."""
    from codegen_lsp.cluster.plan import measured, sizing
    from codegen_lsp.evals.harness.records import write_atomically

    replayed = measured.read(expanded(folder))
    taken = measured.times_of(measured.read(expanded(quiet)), cache)
    tallies = measured.simulated(replayed, taken, replicas, processors or math.inf)
    requests, service = replayed.answered, taken.service
    seen = sizing.percentiles([request.latency for request in requests])
    expected = sizing.percentiles(tallies.latencies)
    if times is not None:
        write_atomically(expanded(times), json.dumps(asdict(service), indent=2) + "\n")
    if as_json:
        data = {"requests": len(requests), "measured_ms": seen, "simulated_ms": expected}
        say_json(data | {"service": asdict(service)}, indent=2)
        return
    clients = len({request.client for request in requests})
    say(f"{len(requests)} requests of {clients} clients to {replicas} replicas, measured and simulated:")
    for name in seen:
        say(f"  {name}: {_ms(seen[name])}, {_ms(expected[name])} ({_off(expected[name], seen[name])})")
    say(f"service times: {_milliseconds(service)}")


def _off(expected: float | None, seen: float | None) -> str:
    return f"{100 * (expected / seen - 1):+.0f} %" if expected and seen else "–"


def _milliseconds(service: Service) -> str:
    times = {name: value for name, value in asdict(service).items() if name != "cache"}
    return ", ".join(f"{name} {1e3 * value:.3g} ms" for name, value in times.items())


def _lines(options: PlanOptions, figures: dict[str, Any]) -> list[str]:
    normal, loss = figures["latency_ms"], figures["latency_after_loss_ms"]
    device = "replicas as measured" if options.measured else f"{figures['gpus']} x {options.gpu.lower()}"
    return [
        f"{options.developers} developers: {figures['replicas']} replicas, one of which may be lost ({device})",
        f"one replica serves {figures['developers_per_replica']} developers within {options.p95:g} ms (p95)",
        f"a keystroke's answer: p50 {_ms(normal['p50'])}, p95 {_ms(normal['p95'])}, p99 {_ms(normal['p99'])}",
        f"after the loss of a replica: p50 {_ms(loss['p50'])}, p95 {_ms(loss['p95'])}, p99 {_ms(loss['p99'])}",
        (
            f"prompt tokens from prefix caches: {100 * figures['cache_hits']:.0f} %; "
            f"requests cancelled by the next key: {100 * figures['cancelled_share']:.0f} %; "
            f"replicas busy: {100 * figures['busy_share']:.0f} %"
        ),
        "",
        "Assumed:",
        *(f"  {name}: {value}" for name, value in figures["assumptions"].items()),
    ]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _assumptions(options: PlanOptions, service: Service) -> dict[str, str]:
    from codegen_lsp.cluster.plan import service as times
    from codegen_lsp.cluster.plan.replica import CHUNK, MAX_ROWS

    source = (
        f"read from {options.measured}"
        if options.measured
        else f"computed from the data sheet: {100 * times.BANDWIDTH_SHARE:.0f} % of its memory bandwidth, "
        f"{100 * times.ARITHMETIC_SHARE:.0f} % of its arithmetic, 2 bytes per weight"
    )
    milliseconds = {
        name: f"{1e3 * value:.4g} ms" for name, value in asdict(service).items() if name != "cache"
    }
    return {
        "service times": source,
        "a request outside of its steps": milliseconds["request"],
        "a decoding step": f"{milliseconds['step']}, and {milliseconds['row']} for each further row",
        "a prompt's token": f"{milliseconds['token']}, read in chunks of {CHUNK}",
        "a context's token": f"{milliseconds['context']} a step",
        "prefix cache of a replica": f"{service.cache} tokens",
        "rows of a step": f"at most {MAX_ROWS}",
        "typing": f"{100 * options.active:.0f} % of the time, as recorded; each request cancels the one before it",
        "opening a file": "its first key waits until its prompt is read; nothing is read ahead",
        "routing": "a hash chooses a session's replica; after a loss its sessions are spread over the others",
    }


def _draw(path: Path, size: Any, options: PlanOptions) -> None:
    """Draw the latencies' distribution, with all replicas and after the loss of one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from codegen_lsp.evals.harness.report import save_picture
    from codegen_lsp.wire import extras

    extras.require("eval")

    def draw(axes: Any) -> None:
        for name, seconds in (("all replicas", size.normal.latencies), ("one lost", size.loss.after_loss)):
            ordered = sorted(1e3 * value for value in seconds)
            shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
            axes.plot(ordered, shares, label=name)
        axes.axvline(options.p95, linestyle=":", color="0.5")
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds from the request to its answer")
        axes.set_ylabel("% of answers")
        axes.set_title(f"{options.developers} developers on {size.replicas} replicas (simulated)")
        axes.legend()

    save_picture(path, draw)
