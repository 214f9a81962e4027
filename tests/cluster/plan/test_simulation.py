"""The simulation: exact where it can be worked out by hand, the same twice, and nothing gets lost in it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from codegen_lsp.cluster.plan import traces
from codegen_lsp.cluster.plan.accelerators import DEVICES
from codegen_lsp.cluster.plan.service import Service, computed, read
from codegen_lsp.cluster.plan.simulation import Scenario, Tallies, simulate
from codegen_lsp.cluster.plan.sizing import Goal, percentiles, size
from codegen_lsp.cluster.plan.traces import EngineCall, Trace
from codegen_lsp.engine.checkpoints.dimensions import SIZES
from codegen_lsp.wire.config import ConfigError

SERVICE = Service(request=0.01, step=0.02, row=0.001, token=0.001, context=0.0, cache=10_000)
SLOW = Trace((EngineCall(0.0, 100, 100, 5), EngineCall(10.0, 103, 3, 5)), 20.0)
"""A person who calls twice, with time to wait for both answers."""


def calls(developers: int, seconds: float, seed: int, active: float = 1.0) -> int:
    """The number of requests of a scenario's developers."""
    return sum(
        len([*traces.requests([SLOW], active, seconds, random.Random(f"{seed}:{number}"))])
        for number in range(developers)
    )


def answered(tallies: Tallies) -> int:
    return len(tallies.latencies) + tallies.cancelled


def test_one_request_takes_its_prompt_its_steps_and_the_way() -> None:
    tallies = simulate(Scenario(1, 1, SERVICE, active=1.0, seconds=60), [SLOW])
    # A cold prompt of 100 tokens takes 0.1 s with its first token, and four more steps; a warm one five steps.
    cold, warm = 0.1 + 4 * 0.02 + 0.01, 5 * 0.02 + 0.01
    assert {round(latency, 6) for latency in tallies.latencies} == {round(cold, 6), round(warm, 6)}


def test_rows_of_one_step_share_it() -> None:
    crowd = simulate(Scenario(8, 1, SERVICE, active=1.0, seconds=60), [SLOW])
    alone = simulate(Scenario(1, 1, SERVICE, active=1.0, seconds=60), [SLOW])
    assert max(crowd.latencies) < 8 * max(alone.latencies)
    assert crowd.rows > crowd.iterations * 0.9


@pytest.mark.parametrize("seed", range(5))
def test_every_request_is_answered_or_cancelled_and_the_same_seed_gives_the_same(seed: int) -> None:
    scenario = Scenario(20, 3, SERVICE, active=1.0, seconds=90, seed=seed)
    first, second = (simulate(scenario, [SLOW]) for _ in range(2))
    assert answered(first) == calls(20, 90, seed)
    assert first == second


def test_the_next_key_cancels_a_request() -> None:
    hasty = Trace((EngineCall(0.0, 100, 100, 50), EngineCall(0.5, 101, 2, 5)), 20.0)
    tallies = simulate(Scenario(1, 1, SERVICE, active=1.0, seconds=200), [hasty])
    assert tallies.cancelled >= len(tallies.latencies) - 1 > 0


def test_a_lost_replicas_documents_are_read_again_by_the_others() -> None:
    warm = Trace(
        (EngineCall(0.0, 400, 400, 5), *(EngineCall(float(n), 400 + n, 2, 5) for n in range(1, 60))), 60.0
    )
    scenario = Scenario(8, 2, SERVICE, active=1.0, seconds=60)
    normal = simulate(scenario, [warm])
    lost = simulate(replace(scenario, lost_at=30.0), [warm])
    assert answered(lost) == answered(normal)
    assert lost.read > normal.read
    assert lost.after_loss


def test_a_small_cache_forgets_documents() -> None:
    small = simulate(Scenario(20, 1, replace(SERVICE, cache=150), active=1.0, seconds=120), [SLOW])
    large = simulate(Scenario(20, 1, SERVICE, active=1.0, seconds=120), [SLOW])
    assert small.cache_hits < large.cache_hits


def test_a_size_holds_its_goal_and_has_a_replica_to_spare() -> None:
    found = size(Goal(300, p95=0.4, seconds=30), SERVICE, [SLOW])
    assert found.replicas == -(-300 // found.per_replica) + 1
    assert percentiles(found.normal.latencies)["p95"] <= 400
    assert found.per_replica < 300


def test_a_goal_that_nobody_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="one developer alone waits longer than 10 ms"):
        size(Goal(5, p95=0.01), SERVICE, [SLOW])


def test_a_larger_model_takes_longer_and_one_that_does_not_fit_is_refused() -> None:
    small, large = (computed(SIZES[name], DEVICES["h100"]) for name in ("2B", "16B"))
    assert large.step > small.step
    assert large.cache < small.cache
    with pytest.raises(ConfigError, match="raise --gpus-per-replica"):
        computed(SIZES["16B"], DEVICES["l4"])
    assert computed(SIZES["16B"], DEVICES["l4"], 4).cache > 0


def test_the_bundled_recording_is_of_real_typing() -> None:
    recording = traces.read()
    assert len(recording) >= 5
    for trace in recording:
        assert [call.seconds for call in trace.calls] == sorted(call.seconds for call in trace.calls)
        assert trace.calls[-1].seconds <= trace.seconds
        assert all(0 <= call.new <= call.prompt for call in trace.calls)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"traces": []}', '{"traces": [{"calls": [[1]], "seconds": 1}]}']
)
def test_a_file_that_is_no_recording_gets_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "typing.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no recorded typing"):
        traces.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"request": "soon"}'])
def test_a_file_without_service_times_gets_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no service times"):
        read(path)
