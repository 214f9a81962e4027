"""`codegen-lsp models recommend`: say which of the named models suits this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codegen_lsp.commands.options import AsJson
from codegen_lsp.commands.terminal import console, format_size, say, say_json, styled

if TYPE_CHECKING:
    from rich.table import Table

    from codegen_lsp.engine.advice.recommend import Advice


def recommend(as_json: AsJson = False) -> None:
    """Say which model suits this machine: its memory and its measured bandwidth against the named models."""
    from codegen_lsp.engine.advice import recommend as advice
    from codegen_lsp.engine.advice.machine import measure

    machine = measure()
    advices = advice.advise(machine)
    chosen = advice.best(advices)
    if as_json:
        described = {
            "device": machine.device,
            "free_bytes": machine.free,
            "bandwidth": round(machine.bandwidth),
        }
        name = chosen.model.name if chosen else None
        say_json({"machine": described, "recommended": name, "models": [a.to_json() for a in advices]})
        return
    memory, speed = format_size(machine.free), machine.bandwidth / 1e9
    say(f"{machine.device}: {memory} free, {speed:.1f} GB/s; weights in GiB, times in ms (-: does not fit)\n")
    console().print(_advice_table(advices))
    say(f"\ntake {advice.sentence(chosen)}" if chosen else "\nno model fits into the memory that is free")


def _advice_table(advices: Sequence[Advice]) -> Table:
    """Return a table of sizes in GiB and times in milliseconds."""
    from rich.table import Column, Table

    numbers = [
        Column(name, justify="right", no_wrap=True) for name in ("16 bit", "int8", "int4", "key", "line")
    ]
    table = Table(
        Column("model", no_wrap=True),
        *numbers,
        "fills in",
        "licence",
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    for advice in advices:
        sizes = [f"{advice.sizes[name] / 2**30:.2f}" for name in ("bfloat16", "int8", "int4")]
        times = [f"{seconds * 1000:.0f}" if advice.fits else "-" for seconds in (advice.key, advice.line)]
        fills = "yes" if advice.model.fills else "no"
        row = [advice.model.name, *sizes, *times, fills, advice.model.licence]
        table.add_row(*(styled(cell, "green" if advice.in_time else "") for cell in row))
    return table
