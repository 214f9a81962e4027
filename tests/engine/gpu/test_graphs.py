"""Steps that a GPU replays give the tokens of the same model's eager steps, and of transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from support.closeness import assert_as_good
from support.local import ask, decode_together, load_model, names, reference, tokens_of

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.model.graphs.recorders import CudaRecorder, Unrecorded
from codegen_lsp.engine.model.graphs.static_step import StaticStep
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache

NEW = 24
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)

TOLERANCE = {"float32": 2e-3, "bfloat16": 0.35}
"""How far below the best a chosen token may be, in nats, if it is not the best: sums in another order."""


@dataclass
class Counted:
    """A recorder that counts."""

    inner: CudaRecorder
    recorded: int = 0
    replayed: int = 0

    def record(self, work: Any) -> Any:
        replay = self.inner.record(work)
        self.recorded += 1

        def counted() -> None:
            self.replayed += 1
            replay()

        return counted


@dataclass
class GpuCase:
    """A model whose steps are replayed."""

    model: Model
    recorder: Counted
    folder: Path
    dtype: str
    references: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def reference(self, tokens: list[int]) -> list[int]:
        """What `generate` gives, made once."""
        key = tuple(tokens)
        if key not in self.references:
            self.references[key] = reference(self.model, tokens, NEW)
        return self.references[key]


def load_case(folder: Path, **options: Any) -> GpuCase:
    model = load_model(folder, device_map="cuda:0", **options)
    assert model.records_steps
    recorder = Counted(CudaRecorder(model.input_device))
    assert model.record_steps(recorder)
    return GpuCase(model, recorder, folder, options["dtype"])


@pytest.fixture(
    scope="module",
    params=["nano float32", "nano bfloat16", "clear-cut float32", "clear-cut bfloat16", "350M bfloat16"],
)
def loaded(request: pytest.FixtureRequest) -> Iterator[GpuCase]:
    name, dtype = request.param.split()
    fixtures = {"clear-cut": "clear_cut", "350M": "real_size"}
    folder = request.getfixturevalue(fixtures[name]) if name in fixtures else NANO_FOLDER
    case = load_case(folder, dtype=dtype)
    yield case
    assert case.recorder.replayed > 50


@pytest.fixture
def case(loaded: GpuCase, caplog: pytest.LogCaptureFixture) -> Iterator[GpuCase]:
    """A model whose recording must not fail while a test runs."""
    yield loaded
    assert not [record for record in caplog.get_records("call") if "not recorded" in record.getMessage()]


def check(case: GpuCase, tokens: list[int], made: list[str]) -> None:
    """Compare with transformers' `generate`: equal tokens, or a first other token that is as good as the best."""
    expected = names(case.model, case.reference(tokens))
    assert_as_good(case.model, tokens, made, expected, TOLERANCE[case.dtype])


def prompts(model: Model) -> list[list[int]]:
    ids = model.vocabulary.encode(TEXT)
    return [ids[:300], ids[:302], ids[:290], ids[:200] + ids[400:440], ids[:303], ids[500:560]]


def test_cold_warm_and_after_keystrokes(case: GpuCase) -> None:
    cache = PrefixCache(2**28)
    for tokens in prompts(case.model):
        cold = ask(case.model, [tokens], None, max_tokens=NEW, logprobs=0, chunk=256)
        check(case, tokens, tokens_of(case.model, cold))
        warm = ask(case.model, [tokens], cache, max_tokens=NEW, logprobs=0, chunk=256)
        check(case, tokens, tokens_of(case.model, warm))


def test_after_eviction(case: GpuCase) -> None:
    cache = PrefixCache(case.model.bytes_per_token * 400)
    for tokens in (*prompts(case.model)[::3], *prompts(case.model)[::-3]):
        answer = ask(case.model, [tokens], cache, max_tokens=NEW, logprobs=0, chunk=256)
        check(case, tokens, tokens_of(case.model, answer))
    assert cache.evictions > 0


def test_four_rows_of_a_fork(case: GpuCase) -> None:
    tokens = prompts(case.model)[0]
    cache = PrefixCache(2**28)
    for _ in range(2):
        answer = ask(case.model, [tokens], cache, max_tokens=NEW, logprobs=0, n=4, chunk=256)
        for row in range(4):
            check(case, tokens, tokens_of(case.model, answer, row))


def test_a_batch_of_mixed_requests(case: GpuCase) -> None:
    texts, replayed = prompts(case.model)[:4], case.recorder.replayed
    for tokens, ids in zip(texts, decode_together(case.model, texts, NEW), strict=True):
        check(case, tokens, names(case.model, ids))
    assert case.recorder.replayed > replayed + NEW


def test_logits_are_those_of_eager_steps(case: GpuCase) -> None:
    """A prompt in pieces of 1 to 16 tokens, replayed, beside the whole in one eager pass of the same model."""
    model = case.model
    tokens = torch.tensor([prompts(model)[0][:120]])
    eager = load_model(case.folder, device_map="cuda:0", dtype=case.dtype)
    eager.record_steps(Unrecorded())
    whole = eager.forward(tokens, eager.new_cache(120), 120)[0]
    kv, start, replayed = model.new_cache(120), 0, case.recorder.replayed + case.recorder.recorded
    parts = []
    for size in (1, 2, 3, 5, 8, 13, 16, 16, 1, 1, 16, 16, 7, 15):
        parts.append(model.forward(tokens[:, start : start + size], kv, size)[0])
        start += size
    assert start == 120
    assert case.recorder.replayed + case.recorder.recorded == replayed + len(parts)
    difference = (torch.cat(parts).log_softmax(-1) - whole.log_softmax(-1))[:, ~model.banned].abs()
    assert float(difference.mean()) < TOLERANCE[case.dtype] / 4


def test_if_memory_runs_out_steps_go_on_eagerly(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    case = load_case(NANO_FOLDER, dtype="float32")

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(case.recorder, "record", fail)
    tokens = prompts(case.model)[0]
    check(case, tokens, tokens_of(case.model, ask(case.model, [tokens], max_tokens=NEW, logprobs=0)))
    assert [m for m in caplog.messages if "too little memory" in m] == caplog.messages


def test_work_that_waits_for_the_gpu_is_not_recorded_and_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A real capture that fails in the middle: the process goes on, eagerly, with the same tokens."""
    case = load_case(NANO_FOLDER, dtype="float32")
    compute = StaticStep._compute

    def waiting(self: StaticStep, *arguments: Any) -> None:
        compute(self, *arguments)
        self._given.cpu()

    monkeypatch.setattr(StaticStep, "_compute", waiting)
    tokens = prompts(case.model)[0]
    check(case, tokens, tokens_of(case.model, ask(case.model, [tokens], max_tokens=NEW, logprobs=0)))
    assert len([m for m in caplog.messages if "not recorded any more" in m]) == 1
