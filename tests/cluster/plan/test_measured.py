"""The simulation held against a replay: service times read off its requests, the same requests simulated."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codegen_lsp.cluster.plan import measured, service, sizing
from codegen_lsp.cluster.plan.service import Service
from codegen_lsp.cluster.plan.simulation import Scenario, replay
from codegen_lsp.cluster.plan.traces import EngineCall
from codegen_lsp.wire.config import ConfigError

SERVICE = Service(request=0.03, step=0.004, row=0.0, token=0.0005, context=0.0, cache=100_000)


BESIDE = 0.01
"""Seconds of a processor that each key takes besides."""


def written(folder: Path, clients: int = 8, gap: float = 2.0, seconds: float = 120.0) -> Path:
    """A replay whose requests never wait for each other: each takes what `SERVICE` says."""
    source = random.Random(1)
    rows = []
    for client in range(clients):
        now = source.uniform(0, gap)
        while now < seconds:
            unread, count = (400 if source.random() < 0.1 else 3), source.randrange(4, 20)
            first = SERVICE.request + max(SERVICE.step, unread * SERVICE.token)
            decode = (count - 1) * SERVICE.step
            rows.append(
                {
                    "client": client,
                    "at": now,
                    "latency_ms": 1e3 * (first + decode),
                    "prompt": 800,
                    "unread": unread,
                    "written": count,
                    "first_ms": 1e3 * first,
                    "decode_ms": 1e3 * decode,
                    "source": "engine",
                }
            )
            now += source.uniform(gap / 2, 2 * gap)
    rows.append({"client": 0, "at": 1.0, "source": "memory", "prompt": 0, "latency_ms": 2.0})
    rows.append({"client": 1, "at": 2.0, "source": "late"})
    (folder / "requests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    busy = sum(row.get("latency_ms", 0.0) / 1e3 for row in rows) + BESIDE * len(rows)
    (folder / "report.json").write_text(
        json.dumps({"team": {"processor_seconds": busy, "resting_processors": 0.1}})
    )
    return folder


def test_service_times_are_read_off_the_requests(tmp_path: Path) -> None:
    taken = measured.times_of(measured.read(written(tmp_path)), cache=100_000)
    times = taken.service
    assert taken.beside == pytest.approx(BESIDE, rel=0.01)
    assert taken.without == pytest.approx(0.002)
    assert taken.overheads == pytest.approx([SERVICE.request] * len(taken.overheads), rel=0.05)
    assert times.request == pytest.approx(SERVICE.request, rel=0.01)
    assert times.step == pytest.approx(SERVICE.step, rel=0.01)
    assert times.token == pytest.approx(SERVICE.token, rel=0.05)
    assert times.row == pytest.approx(0.0, abs=1e-4)


def test_requests_without_waiting_are_simulated_as_they_were(tmp_path: Path) -> None:
    replayed = measured.read(written(tmp_path, gap=20.0, seconds=600.0))
    tallies = measured.simulated(replayed, measured.times_of(replayed, 100_000), replicas=2)
    assert len(tallies.latencies) + tallies.cancelled == 5 * (len(replayed.answered) + len(replayed.late))
    seen = sizing.percentiles([request.latency for request in replayed.answered])
    expected = sizing.percentiles(tallies.latencies)
    assert expected["p50"] == pytest.approx(seen["p50"], rel=0.1)
    assert expected["p95"] == pytest.approx(seen["p95"], rel=0.1)


def test_a_small_machine_is_slower_and_more_so_if_it_is_never_at_rest(tmp_path: Path) -> None:
    replayed = measured.read(written(tmp_path))
    times = measured.times_of(replayed, 100_000)
    restless = replace(times, resting=0.6)
    chosen = ((times, math.inf), (times, 1.0), (restless, 1.0))
    medians = [
        sizing.percentiles(measured.simulated(replayed, taken, 2, processors).latencies)["p50"] or 0.0
        for taken, processors in chosen
    ]
    assert medians[0] < medians[1] < medians[2]


def test_what_differs_between_requests_beside_their_steps_differs_in_the_simulation_too() -> None:
    calls = [(20.0 * number, number % 4, EngineCall(0.0, 800, 3, 5)) for number in range(200)]
    tallies = replay(Scenario(4, 2, SERVICE, 1.0, 4000.0, overheads=(0.01, 0.01, 0.01, 0.5)), calls)
    steps = 5 * SERVICE.step
    assert {round(latency, 6) for latency in tallies.latencies} == {0.01 + steps, 0.5 + steps}
    assert 0.1 < sum(latency > 0.4 for latency in tallies.latencies) / 200 < 0.4


def test_everything_waits_for_the_processors_of_a_small_machine() -> None:
    calls = [(0.0, client, EngineCall(0.0, 800, 3, 5)) for client in range(4)]
    own = replay(Scenario(4, 400, SERVICE, 1.0, 10.0), calls)
    shared = replay(Scenario(4, 400, SERVICE, 1.0, 10.0, processors=2), calls)
    alone = SERVICE.request + 5 * SERVICE.step
    assert max(own.latencies) == pytest.approx(alone)
    assert max(shared.latencies) == pytest.approx(2 * alone)
    busy = [(0.0, 9, 60.0), *calls]
    assert max(replay(Scenario(5, 400, SERVICE, 1.0, 10.0, processors=2), busy).latencies) > 2.4 * alone
    beside = Scenario(4, 400, SERVICE, 1.0, 10.0, processors=2, beside=60.0)
    assert max(replay(beside, calls).latencies) == pytest.approx(4 * alone)


def test_a_key_without_a_request_cancels_the_one_before() -> None:
    keys = [(0.0, 1, EngineCall(0.0, 800, 3, 500)), (1.0, 1, 0.001), (9.0, 1, EngineCall(0.0, 801, 3, 5))]
    tallies = replay(Scenario(1, 1, SERVICE, 1.0, 10.0), keys)
    assert (tallies.cancelled, len(tallies.latencies)) == (1, 1)


def test_requests_at_the_same_time_wait_in_the_simulation() -> None:
    calls = [(0.0, client, EngineCall(0.0, 800, 400, 5)) for client in range(6)]
    one = replay(Scenario(6, 1, SERVICE, 1.0, 10.0), calls)
    six = replay(Scenario(6, 3, SERVICE, 1.0, 10.0), calls)
    assert max(one.latencies) > 5 * 400 * SERVICE.token
    assert max(six.latencies) < max(one.latencies)
    assert one.cached == 6 * 400


def test_the_command_writes_times_that_plan_reads(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    folder = str(written(tmp_path))
    command = [sys.executable, "-m", "codegen_lsp", "cluster", "compare", folder, "--quiet", folder, "--json"]
    answer = subprocess.run(
        [*command, "--times", str(times)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    data = json.loads(answer.stdout)
    assert data["measured_ms"].keys() == data["simulated_ms"].keys() == {"p50", "p95", "p99"}
    assert service.read(times).step == pytest.approx(data["service"]["step"])


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "no json\n", '{"source": "engine", "prompt": 1}\n'])
def test_a_folder_without_a_replay_gets_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "requests.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=r"requests\.jsonl holds"):
        measured.read(tmp_path)
    with pytest.raises(ConfigError, match="holds no replay of a team"):
        measured.read(tmp_path / "missing")
