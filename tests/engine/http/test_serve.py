"""A real engine process with the bundled model: HTTP, streams, cancellation, and its life on its socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.served import Served, environment, serving, until

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.checkpoints.placement import blueprint_of, model_config
from codegen_lsp.wire.config import EngineConfig

TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("run")) as served:
        yield served


def events(response: httpx.Response) -> list[Any]:
    """The data of server-sent events; the last must be [DONE]."""
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_completion(engine: Served) -> None:
    body = engine.complete("import os\n\ndef ", max_tokens=8, n=2, logprobs=1)
    assert body["object"] == "text_completion"
    assert body["model"] == "nano"
    assert [c["index"] for c in body["choices"]] == [0, 1]
    assert body["usage"]["completion_tokens"] == 16
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 16
    assert "cached_tokens" in body["usage"]["prompt_tokens_details"]
    assert set(body["timings"]) == {"queue_ms", "prefill_ms", "decode_ms"}


def test_a_completion_that_begins_with_a_word(engine: Served) -> None:
    fields = {"heal": True, "branch": True, "n": 3, "max_tokens": 8, "logprobs": 0}
    body = engine.complete("client.se", words=["nd", "t_cookie"], **fields)
    for choice in body["choices"]:
        assert re.match(r"(nd|t_cookie)(?!\w)", choice["text"])
        assert all(value <= 1e-5 for value in choice["logprobs"]["token_logprobs"])


def test_a_stream_adds_up_to_the_whole_answer(engine: Served) -> None:
    fields = {"prompt": "class A:\n    def ", "max_tokens": 12, "temperature": 0.5, "seed": 3, "n": 2}
    whole = engine.client.post("/v1/completions", json=fields).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with engine.client.stream("POST", "/v1/completions", json={**fields, **options}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = events(response)
    texts = [
        "".join(c["text"] for chunk in chunks for c in chunk["choices"] if c["index"] == i) for i in (0, 1)
    ]
    assert texts == [c["text"] for c in whole["choices"]]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert len(chunks) > 5


def test_the_openai_client_works(engine: Served) -> None:
    transport = httpx.HTTPTransport(uds=str(engine.socket))
    with httpx.Client(transport=transport) as http:
        client = openai.OpenAI(api_key="none", base_url="http://engine/v1", http_client=http, max_retries=0)
        answer = client.completions.create(
            model="nano", prompt="def add(a, b):\n    return", max_tokens=6, temperature=0, logprobs=2, n=2
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 12
        stream = client.completions.create(
            model="nano", prompt="def add(a, b):\n    return", max_tokens=6, temperature=0, stream=True
        )
        assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == answer.choices[0].text
        scored = client.completions.create(
            model="nano", prompt="a = 1\n", max_tokens=0, echo=True, logprobs=1
        )
        assert scored.choices[0].text == "a = 1\n"
        assert [m.id for m in client.models.list()] == ["nano"]
        with pytest.raises(openai.NotFoundError, match="gpt-4"):
            client.completions.create(model="gpt-4", prompt="x")
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="nano", prompt="x", presence_penalty=1.0)
        assert caught.value.param == "presence_penalty"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 1),
        ("prompt", None),
        ("prompt", ""),
        ("prompt", []),
        ("prompt", ["a", 1]),
        ("prompt", [10**6]),
        ("prompt", "x " * 3000),
        ("n", 0),
        ("n", 1000),
        ("n", "1"),
        ("n", True),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("temperature", -0.1),
        ("temperature", "hot"),
        ("temperature", 10**400),
        ("top_p", 0),
        ("top_p", 1.1),
        ("stop", [""]),
        ("stop", 1),
        ("stop", ["x"] * 17),
        ("stop", "x" * 1001),
        ("cache_salt", 5),
        ("cache_salt", "x" * 1001),
        ("seed", "x"),
        ("seed", 2**63),
        ("logprobs", 21),
        ("logprobs", True),
        ("echo", "yes"),
        ("stream", 1),
        ("stream_options", {}),
        ("best_of", 3),
        ("suffix", 5),
        ("files", [{"path": "a.py"}]),
        ("path", 1),
        ("logit_bias", {"5": 1}),
        ("no_such_field", 1),
        ("priority", 1000),
        ("echo_from", -1),
        ("draft", ["x = 1"]),
        ("words", "send"),
        ("words", ["x", 1]),
        ("words", ["x"] * 2001),
    ],
)
def test_wrong_fields_are_named(engine: Served, field: str, value: Any) -> None:
    body = {"prompt": "x", "max_tokens": 1, field: value}
    if (field, value) == ("prompt", ""):
        assert engine.complete("", max_tokens=1)["usage"]["prompt_tokens"] == 1
        return
    response = engine.client.post("/v1/completions", content=json.dumps(body))
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == field
    assert error["type"] == "invalid_request_error"
    assert field in error["message"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"prompt": NaN}']
)
def test_a_body_that_is_no_request(engine: Served, content: bytes) -> None:
    response = engine.client.post("/v1/completions", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_half_a_surrogate_pair_is_no_harm(engine: Served) -> None:
    response = engine.client.post("/v1/completions", content=b'{"prompt": "x = \\ud83d", "max_tokens": 2}')
    assert response.status_code == 200
    response = engine.client.post("/v1/completions", content=b'{"prompt": "x", "\\ud83d": 1}')
    assert response.status_code == 400


def test_a_body_that_is_too_long(engine: Served) -> None:
    response = engine.client.post("/v1/completions", content=b" " * (17 * 2**20))
    assert response.status_code == 413


def test_unknown_routes_and_methods_answer_as_errors(engine: Served) -> None:
    assert engine.client.get("/v1/chat").status_code == 404
    response = engine.client.get("/v1/completions")
    assert response.status_code == 405
    assert "message" in response.json()["error"]


def test_models_say_what_a_client_needs(engine: Served) -> None:
    (model,) = engine.client.get("/v1/models").json()["data"]
    assert model["id"] == "nano"
    assert model["max_model_len"] == 2048
    assert Path(model["tokenizer_file"]).is_file()
    extensions = ["heal", "branch", "priority", "echo_from", "files", "path", "draft", "words"]
    assert model["extensions"] == extensions
    fill = model["fill_in_the_middle"]
    assert (fill["order"], fill["suffix_ranking"]) == ("left-to-right", True)
    assert fill["reason"] == "its description prefers left to right"
    chosen = blueprint_of(EngineConfig(), model_config(NANO_FOLDER)).weights
    assert model["weights"] == engine.client.get("/health").json()["weights"] == chosen


def test_one_model_by_its_name(engine: Served) -> None:
    listed = engine.client.get("/v1/models").json()["data"]
    assert engine.client.get("/v1/models/nano").json() == listed[0]
    missing = engine.client.get("/v1/models/owner/other")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_the_end_user_is_accepted_and_changes_nothing(engine: Served) -> None:
    answers = [engine.complete("x = ", max_tokens=3, **more)["choices"] for more in ({}, {"user": "me"})]
    assert answers[0] == answers[1]


def test_compressed_bodies_are_refused_by_name(engine: Served) -> None:
    body = gzip.compress(b'{"prompt": "x"}')
    response = engine.client.post("/v1/completions", content=body, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "'Content-Encoding: gzip' is not supported" in response.json()["error"]["message"]


def test_line_separators_do_not_break_a_stream(engine: Served) -> None:
    text = "a\u2028b\u2029c\u0085d"
    body = {"prompt": text, "max_tokens": 0, "echo": True, "stream": True}
    with engine.client.stream("POST", "/v1/completions", json=body) as response:
        raw = response.read().decode()
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line]
    assert "".join(json.loads(line)["choices"][0]["text"] for line in lines[:-1]) == text


def test_a_flood_of_token_ids_is_refused_and_others_are_served(engine: Served) -> None:
    content = b'{"prompt": [' + b"7," * (7 * 2**20) + b"7]}"
    responses: list[httpx.Response] = []

    def post() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(engine.socket)), timeout=120) as client:
            responses.append(client.post("http://engine/v1/completions", content=content))

    thread = threading.Thread(target=post)
    thread.start()
    waits = []
    while thread.is_alive():
        started = time.monotonic()
        engine.health()
        waits.append(time.monotonic() - started)
    thread.join()
    assert responses[0].status_code == 400
    assert responses[0].json()["error"]["code"] == "context_length_exceeded"
    assert len(waits) > 1
    assert max(waits) < 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"prompt": "x", ' + b", ".join(b'"k%d": 1' % n for n in range(10**6)) + b"}", "lists or keys"),
        (b'{"prompt": [' + b"[]," * 10**6 + b"[]]}", "lists or keys"),
        (b'{"prompt": "x", "model": "' + b"m" * 10**7 + b'"}', "no model 'mmm"),
        (b'{"prompt": "x", "' + b"k" * 10**7 + b'": 1}', "'kkk"),
    ],
    ids=["keys", "lists", "model", "key"],
)
def test_a_flood_of_anything_gets_a_short_answer(engine: Served, content: bytes, problem: str) -> None:
    response = engine.client.post("/v1/completions", content=content)
    assert response.status_code in (400, 404)
    assert problem in response.json()["error"]["message"]
    assert len(response.content) < 1000


def steps(engine: Served) -> float:
    return sum(v for name, v in engine.metrics().items() if name.startswith("codegen_steps_total"))


def assert_stands_still(engine: Served) -> None:
    """Nothing runs any more, soon."""
    deadline = time.monotonic() + 20
    while engine.metrics()["codegen_requests_running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = steps(engine)
    time.sleep(0.3)
    assert steps(engine) == before


@pytest.mark.parametrize("stream", [False, True])
def test_a_dropped_connection_stops_the_decoding(engine: Served, stream: bool) -> None:
    cancelled = engine.metrics()["codegen_cancelled_total"]
    before = steps(engine)

    async def leave() -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(engine.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client:
            body = {"prompt": "x = 1\n", "max_tokens": 2000, "temperature": 0, "stream": stream, "n": 4}
            task = asyncio.create_task(client.post("/v1/completions", json=body))
            while not await running(client):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert_stands_still(engine)
    assert engine.metrics()["codegen_cancelled_total"] == cancelled + 1
    assert steps(engine) - before < 1500


async def running(client: httpx.AsyncClient) -> bool:
    text = (await client.get("/metrics")).text
    return "codegen_requests_running 1.0" in text


def test_a_dropped_connection_stops_a_prefill_and_what_was_read_stays(tmp_path: Path) -> None:
    with serving(tmp_path, "--prefill-chunk", "16") as engine:
        prompt = TEXT[:5000]

        async def leave() -> None:
            transport = httpx.AsyncHTTPTransport(uds=str(engine.socket))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client:
                body = {"prompt": prompt, "max_tokens": 1}
                task = asyncio.create_task(client.post("/v1/completions", json=body))
                while engine.metrics()['codegen_steps_total{kind="prefill"}'] < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(leave())
        assert_stands_still(engine)
        read = engine.metrics()["codegen_prefill_tokens_total"]
        total = engine.complete(prompt, max_tokens=0)["usage"]
        assert 5 * 16 <= read < total["prompt_tokens"]
        assert total["prompt_tokens_details"]["cached_tokens"] == read


def test_health_and_others_are_answered_while_a_generation_runs(engine: Served) -> None:
    body = {"prompt": "x", "max_tokens": 500, "temperature": 0, "stream": True}
    with engine.client.stream("POST", "/v1/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        assert engine.health()["status"] == "ready"
        assert engine.complete("y = ", max_tokens=2)["choices"]


def test_unload_gives_memory_back_and_the_next_request_reloads(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        before = engine.complete("def f(", max_tokens=6)["choices"][0]["text"]
        assert engine.client.post("/unload").status_code == 202
        assert engine.wait("unloaded")["message"]
        response = engine.client.post("/v1/completions", json={"prompt": "x"})
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "loading"
        engine.wait("ready")
        assert engine.complete("def f(", max_tokens=6)["choices"][0]["text"] == before


def test_it_answers_before_the_model_is_there(tmp_path: Path) -> None:
    with serving(tmp_path, wait=False) as engine:
        deadline = time.monotonic() + 60
        while not engine.listens():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        response = engine.client.get("/health")
        assert response.status_code == 503
        assert response.json()["status"] == "loading"
        early = engine.client.post("/v1/completions", json={"prompt": "x"})
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "loading"
        assert engine.wait()["progress"]["done"] == engine.health()["progress"]["total"] > 0


def test_only_its_user_can_connect_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        assert stat.S_IMODE(engine.socket.stat().st_mode) == 0o600
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(20) == 0
    assert not list(tmp_path.glob("engine.sock*"))


def test_a_second_engine_on_the_socket_leaves_at_once(engine: Served) -> None:
    command = [sys.executable, "-m", "codegen_lsp", "serve", "--socket", str(engine.socket)]
    second = subprocess.run(
        command,
        env=environment(engine.socket.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 0
    assert second.stdout.strip().startswith("already running")
    assert engine.health()["status"] == "ready"


def test_a_socket_that_a_dead_engine_left_is_taken_over(tmp_path: Path) -> None:
    with serving(tmp_path) as engine:
        os.kill(engine.process.pid, signal.SIGKILL)
        engine.process.wait(20)
        # The process that it kept is killed by the system, a moment later.
        until(lambda: not engine.listens())
        assert engine.socket.exists()
    with serving(tmp_path) as engine:
        assert engine.complete(max_tokens=1)["choices"]


def test_an_idle_engine_leaves(tmp_path: Path) -> None:
    with serving(tmp_path, "--idle-timeout", "2") as engine:
        # The time that it took to load was nobody's to use: the quiet time begins when it is ready.
        time.sleep(1.2)
        assert engine.process.poll() is None
        engine.complete(max_tokens=1)
        start = time.monotonic()
        while engine.process.poll() is None:
            assert time.monotonic() - start < 30
            if engine.listens():
                engine.metrics()
            time.sleep(0.2)
        assert engine.process.wait(20) == 0
        assert time.monotonic() - start >= 1.5


def test_a_load_that_fails_is_an_answer_not_an_end(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with serving(tmp_path, "--model", str(folder), wait=False) as engine:
        body = engine.wait("error")
        assert "tokenizer" in body["message"]
        response = engine.client.post("/v1/completions", json={"prompt": "x"})
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "load-failed"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_tcp_asks_for_the_token(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "codegen_lsp", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        file = tmp_path / f"{port}.token"
        assert str(file) in line
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        token = file.read_text()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/health").json() == {"status": "alive"}, "a stranger learns nothing else"
            for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": token}):
                assert client.get("/v1/models", headers=headers).status_code == 401
                assert client.post("/shutdown", headers=headers).status_code == 401
            good = {"Authorization": f"Bearer {token}"}
            assert client.get("/v1/models", headers=good).status_code == 200
            assert client.get("/health", headers=good).json()["model"] == "nano"
            # A page in the user's browser: of another site, or of one whose name was made to mean this machine.
            for page in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
                assert client.get("/v1/models", headers=good | page).status_code == 403
                assert client.get("/health", headers=page).status_code == 403
            local = good | {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
            assert client.get("/v1/models", headers=local).status_code == 200
            assert client.post("/shutdown", headers=good).status_code == 202
        assert process.wait(30) == 0
        assert not file.exists()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--model", "no/such/folder/here"], "there is no folder"),
        (["--model", "what"], "not a folder or a known model"),
        (["--dtype", "int4"], "dtype"),
        (["--device-map", "everywhere"], "device map"),
        (["--max-memory", "lots"], "device=size"),
        (["--prefix-cache", "much"], "expected a size"),
        (["--prefix-cache", "9" * 309], "expected a size"),
        (["--offload-folder", "~no-such-user/x"], "there is no home folder for '~no-such-user'"),
        (["--log-level", "loud"], "log-level"),
        (["--socket", "x" * 200], "too long"),
        (["--host", "127.0.0.1", "--socket", "x"], "mutually exclusive"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_flags_are_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "codegen_lsp", "serve", *arguments]
    result = subprocess.run(
        command,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def guard(folder: Path) -> dict[str, str]:
    """An environment in which every attempt to reach a host ends the process with 99."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys, os\n"
        "def watch(event, args):\n"
        "    if event in ('socket.getaddrinfo', 'socket.gethostbyname'):\n"
        "        os._exit(99)\n"
        "    if event == 'socket.connect' and not isinstance(args[1], (str, bytes)):\n"
        "        os._exit(99)\n"
        "sys.addaudithook(watch)\n"
    )
    return {
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "HF_HUB_OFFLINE": "0",
    }


def test_the_network_is_never_tried_with_the_bundled_model(tmp_path: Path) -> None:
    with serving(tmp_path, env=guard(tmp_path)) as engine:
        assert engine.complete(max_tokens=2)["choices"]
        assert engine.process.poll() is None


def test_the_network_is_never_tried_with_a_checkpoint_in_the_hubs_cache(
    tmp_path: Path, tiny_folder: Path
) -> None:
    repository = tmp_path / "hub" / "hub" / "models--Salesforce--codegen-350M-mono"
    shutil.copytree(tiny_folder, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    with serving(tmp_path, "--model", "350m-mono", env=guard(tmp_path)) as engine:
        assert engine.complete(max_tokens=2, model="Salesforce/codegen-350M-mono")["model"] == "350M-mono"
        assert engine.process.poll() is None
