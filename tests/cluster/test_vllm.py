"""The language server on vLLM with an exported model, as on any engine of another project."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lsprotocol import types as lsp
from support import vllm
from support.editor import Editor, editors_in, text_of
from support.samples import CODE, END
from support.served import serving

from codegen_lsp.cluster import serve_config
from codegen_lsp.cluster.serve_config import Endpoint, Replicas
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.requests import CompletionRequest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

PROMPTS = (
    CODE,
    "def fib(n):\n    if n <",
    "class Stack:\n    def push(self, x):\n",
    "import os\nimport sys\n\n",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    vllm.python()
    folder = tmp_path_factory.mktemp("vllm")
    with vllm.serving(vllm.exported("nano", folder / "nano"), folder / "vllm.log") as url:
        yield url


SETTINGS = {"minConfidence": 0, "timeout": 120}


async def greedy(client: HttpEngineClient, prompt: str, count: int = 24) -> str:
    request = CompletionRequest(prompts=(prompt,), max_tokens=count, temperature=0.0)
    return (await client.complete(request)).choices[0].text


async def test_it_writes_what_our_own_engine_writes(server: str, tmp_path: Path) -> None:
    theirs = HttpEngineClient(url=server)
    theirs.model = "nano"
    with serving(tmp_path, "--model", "nano", "--dtype", "float32", "--quantize", "none") as engine:
        ours = HttpEngineClient(socket=engine.socket)
        for prompt in PROMPTS:
            assert await greedy(theirs, prompt) == await greedy(ours, prompt)
        await ours.aclose()
    await theirs.aclose()


async def test_ghost_text_and_menu(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        ed = await start({"server": server} | SETTINGS)
        await ed.ready()
        assert (ed.status["model"], ed.engines()) == ("nano", [])
        uri = ed.open(CODE)
        assert await ed.inline(uri, *END, invoked=True)
        last = await ed.last(uri)
        assert (last["source"], last["prompt"]["text"]) == ("engine", CODE)
        shown = [candidate for candidate in last["candidates"] if candidate["shown"]]
        assert all(candidate["meanLogprob"] < 0 and candidate["tokens"] for candidate in shown)
        assert (await ed.menu(uri, *END)).items


async def test_a_key_gets_the_greedy_row_and_typing_through_asks_nothing(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        ed = await start({"server": server} | SETTINGS)
        await ed.ready()
        uri = ed.open(CODE)
        (item,) = await ed.inline(uri, *END)
        text = text_of(item)
        assert text.strip()
        ed.insert(uri, lsp.Position(*END), text[0])
        assert await ed.inline(uri, END[0], END[1] + 1)
        assert (await ed.last(uri))["source"] == "memory"


async def test_the_text_after_the_cursor_is_scored(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        # Hot enough for rows that differ: equal ones need no scores.
        ed = await start(
            {"server": server, "suffixRanking": True, "candidates": 2, "temperature": 1} | SETTINGS
        )
        await ed.ready()
        for attempt in range(8):
            uri = ed.open(CODE + f"\n\n\nprint(sub({attempt}, 2))\n", f"{attempt}.py")
            await ed.inline(uri, *END, invoked=True)
            shown = [c["suffixLogprob"] for c in (await ed.last(uri))["candidates"] if c["shown"]]
            # On a busy machine scores may come too late to be waited for.
            if len(shown) > 1 and None not in shown:
                break
        assert len(shown) > 1
        assert all(score < 0 for score in shown)


async def test_a_word_that_is_half_typed_is_finished(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        ed = await start({"server": server} | SETTINGS)
        await ed.ready()
        uri = ed.open(CODE.removesuffix("return ") + "retur")
        for invoked in (False, True):
            items = await ed.inline(uri, END[0], 9, invoked=invoked)
            assert text_of(items[0]).startswith("n ")


async def test_a_body_is_written(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        ed = await start({"server": server} | SETTINGS)
        await ed.ready()
        uri = ed.open('def total(numbers):\n    """Add all numbers up."""\n\n\nx = 1\n')
        result = await ed.command("codegen.writeBody", uri, {"line": 1, "character": 8})
        assert result["applied"] or result["reason"]


async def test_cancelling_stops_its_work(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        long = {"multiline": "always", "maxTokensBlock": 512, "candidates": 10, "temperature": 2, "topP": 1}
        ed = await start({"server": server} | SETTINGS | long)
        await ed.ready()
        uri = ed.open(CODE)
        for attempt in range(5):
            request = ed.send_inline(f"cancel-{attempt}", uri, *END, invoked=True)
            await _until_running(server, request)
            if await ed.cancels(f"cancel-{attempt}", request):
                break
        else:
            pytest.fail("each generation was over before it could be cancelled")
        async with asyncio.timeout(20):
            while await running(server):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_other_alphabets_arrive_whole(server: str, tmp_path: Path) -> None:
    async with editors_in(tmp_path) as start:
        ed = await start({"server": server} | SETTINGS)
        await ed.ready()
        uri = ed.open("# größe 🐍 名前\nnamen = ['日本', '🐍',")
        await ed.inline(uri, 1, 19, invoked=True)
        last = await ed.last(uri)
        assert last["source"] == "engine", last
        assert last["prompt"]["text"].startswith("# größe 🐍 名前\n")


async def test_a_server_that_ends_is_told_and_found_again(tmp_path: Path) -> None:
    vllm.python()
    folder = vllm.exported("nano", tmp_path / "nano")
    async with editors_in(tmp_path) as start:
        with vllm.serving(folder, tmp_path / "vllm.log") as url:
            ed = await start({"server": url} | SETTINGS)
            await ed.ready()
            assert await ed.inline(ed.open(CODE), *END, invoked=True)
        assert await ed.inline(ed.open(CODE, "b.py"), *END, invoked=True) == []
        assert await ed.reason() == "engine-unavailable"
        await ed.until(lambda: ed.status["state"] == "error" and "running?" in ed.status["message"])


@pytest.mark.timeout(900)
async def test_the_350m_shape_is_served(tmp_path: Path) -> None:
    """With random weights: shape, tokens and probabilities are right, the text means nothing."""
    vllm.python()
    command = ("models", "synthesize", "350M", "--output", str(tmp_path / "350M"))
    await asyncio.to_thread(vllm.run, *command)
    folder = await asyncio.to_thread(vllm.exported, str(tmp_path / "350M"), tmp_path / "350M-phi")
    with vllm.serving(folder, tmp_path / "vllm.log", "350M") as url:
        async with editors_in(tmp_path) as start:
            ed: Editor = await start({"server": url} | SETTINGS)
            await ed.ready()
            uri = ed.open(CODE)
            await ed.inline(uri, *END, invoked=True)
            last = await ed.last(uri)
            assert (last["source"], last["model"]) == ("engine", "350M")
            assert all(candidate["tokens"] for candidate in last["candidates"])


ACCEPTED = """
import json, sys
from ray.serve.llm import LLMServingArgs
LLMServingArgs.model_validate(json.load(sys.stdin))
"""


def test_ray_serve_llm_accepts_the_configuration(tmp_path: Path) -> None:
    python = vllm.python()
    if subprocess.run([python, "-c", "import ray.serve"], capture_output=True, check=False).returncode:
        pytest.skip("Ray is not installed beside vLLM (deploy/install_vllm.sh FOLDER ray)")
    folder = vllm.exported("nano", tmp_path / "nano")
    document = serve_config.of_vllm("nano", folder, Replicas(2, 2), Endpoint(), {"enforce_eager": True})
    arguments = json.dumps(document["applications"][0]["args"])
    command = [python, "-P", "-c", ACCEPTED]
    answer = subprocess.run(
        command, input=arguments, text=True, capture_output=True, check=False, cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stderr[-2000:]


async def running(server: str) -> float:
    """How many requests vLLM works on."""
    async with httpx.AsyncClient(base_url=server, timeout=30) as client:
        page = (await client.get("/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("vllm:num_requests_running{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def _until_running(server: str, request: asyncio.Future[object]) -> None:
    while not request.done() and not await running(server):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
