"""`codegen.surprise` with a real engine: the same figures as `codegen-lsp score`, in places that exist."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support.editor import StartEditor, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CODE = '''"""Sum things up. 😀 é 日本"""

import os


def total(numbers):
\t"""Add all numbers up."""
\tresult = 0
\tfor number in numbers:
\t\tresult += number
\treturn zebra[:: os.sep]
'''


async def test_the_figures_are_those_of_the_command_line(sharing: StartEditor, shared_folder: Path) -> None:
    ed = await sharing()
    await ed.ready()
    uri = ed.open(CODE)
    answer = await ed.command("codegen.surprise", {"uri": uri})
    assert answer["reason"] is None, answer["message"]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "codegen_lsp", "score", "-", "--json"],
        input=CODE,
        env=environment(shared_folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)
    totals = answer["totals"]
    assert answer["model"] == scored["model"]
    assert totals["tokens"] == scored["predicted"]
    # Batches of another size may round in another way.
    assert totals["bits"] == pytest.approx(-scored["total"] / math.log(2), rel=1e-2)
    assert totals["bitsPerByte"] == pytest.approx(scored["bits_per_byte"], rel=1e-2)
    assert totals["perplexity"] == pytest.approx(scored["perplexity"], rel=2e-2)
    assert sum(t["bits"] for t in answer["tokens"]) == pytest.approx(totals["bits"], abs=0.1)


async def test_ranges_follow_each_other_through_the_whole_text(sharing: StartEditor) -> None:
    ed = await sharing()
    await ed.ready()
    answer = await ed.command("codegen.surprise", {"uri": ed.open(CODE.replace("\n", "\r\n"), "b.py")})
    lines = CODE.split("\n")
    places = [(t["range"]["start"], t["range"]["end"]) for t in answer["tokens"]]
    assert all(end == start for (_, end), (start, _) in pairwise(places))
    assert places[-1][1] == {"line": len(lines) - 1, "character": 0}
    for place in (at for pair in places for at in pair):
        line = lines[place["line"]].encode("utf-16-le")
        assert 2 * place["character"] <= len(line)
        line[: 2 * place["character"]].decode("utf-16-le")  # Never within a surrogate pair.
    assert {line["line"] for line in answer["lines"]} <= {n for n, line in enumerate(lines) if line.strip()}
    surprises = [line["bitsPerToken"] for line in answer["lines"]]
    assert surprises == sorted(surprises, reverse=True)


async def test_the_cached_part_of_a_prompt_is_told_in_characters(sharing: StartEditor) -> None:
    ed = await sharing({"minConfidence": 0})
    await ed.ready()
    text = "# 😀 a comment with 日本 in it\nvalue = 1\nother = "
    uri = ed.open(text, "c.py")
    await ed.inline(uri, 2, 8, invoked=True)
    await ed.inline(uri, 2, 8, invoked=True)  # The second finds what the first has read.
    prompt = (await ed.last(uri))["prompt"]
    assert prompt["cachedTokens"] > 0
    assert 0 < prompt["cachedCharacters"] <= len(prompt["text"])
    share = prompt["cachedTokens"] / prompt["tokens"]
    assert prompt["cachedCharacters"] / len(prompt["text"]) == pytest.approx(share, abs=0.25)
