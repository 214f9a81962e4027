"""Steps that are recorded once and replayed, as on a GPU, give the tokens of transformers' own `generate`.

The recorder is one of the tests' own: it does the same work again, and refuses what a GPU can't record.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import ask, decode_together, load_model, names, reference, tokens_of
from support.recording import StrictRecorder

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.decode.progress import DecodeProgress
from codegen_lsp.engine.model.attention import attend, attend_fused, attend_padded
from codegen_lsp.engine.model.graphs import static_step
from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache

NEW = 24
TEXT = (Path(__file__).resolve().parents[3] / "codegen_lsp" / "wire" / "answers.py").read_text(
    encoding="utf-8"
)

SHAPES = {
    "plain": TinyCodeGen(),
    "many-heads": TinyCodeGen(n_layer=2, n_embd=128, n_head=16, rotary_dim=8, seed=3, vocab_size=777),
    "long": TinyCodeGen(n_layer=2, n_embd=64, n_head=4, n_positions=700, seed=6),
}


def recording(folder: Path, **options: object) -> tuple[Model, StrictRecorder]:
    model = load_model(folder, **options)
    recorder = StrictRecorder()
    assert model.record_steps(recorder)
    return model, recorder


@pytest.fixture(scope="module", params=[*SHAPES, "nano", "nano in int8"])
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(shape: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shape not in SHAPES:
        return NANO_FOLDER
    return save(tmp_path_factory.mktemp("shape"), SHAPES[shape].build(), safe_serialization=True)


@pytest.fixture(scope="module")
def recorded(shape: str, folder: Path) -> tuple[Model, StrictRecorder]:
    model, recorder = recording(folder, quantize="int8" if "int8" in shape else "none")
    assert (model.weights == "int8") == ("int8" in shape)
    return model, recorder


def expected(model: Model, tokens: list[int], new: int = NEW) -> list[str]:
    return names(model, reference(model, tokens, new))


def test_cold_warm_and_after_keystrokes(recorded: tuple[Model, StrictRecorder]) -> None:
    model, recorder = recorded
    ids = model.vocabulary.encode(TEXT)
    cache = PrefixCache(2**28)
    prompts = (ids[:150], ids[:150], ids[:152], ids[:140], ids[:100] + ids[300:340], ids[:153], ids[400:520])
    for tokens in prompts:
        answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0)
        assert tokens_of(model, answer) == expected(model, tokens)
        assert tokens_of(model, ask(model, [tokens], None, max_tokens=NEW, logprobs=0)) == expected(
            model, tokens
        )
    assert recorder.replayed > len(prompts) * NEW
    assert recorder.recorded < 12


def test_after_eviction(recorded: tuple[Model, StrictRecorder]) -> None:
    model, _ = recorded
    ids = model.vocabulary.encode(TEXT)
    cache = PrefixCache(model.bytes_per_token * 200)
    prompts = [ids[:150], ids[:100] + ids[300:340], ids[400:520]]
    for tokens in (*prompts, *reversed(prompts)):
        answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0)
        assert tokens_of(model, answer) == expected(model, tokens)
    assert cache.evictions > 0


@pytest.mark.parametrize("rows", [3, 4, 8])
def test_rows_of_a_fork_are_those_of_steps_that_are_not_recorded(
    recorded: tuple[Model, StrictRecorder], folder: Path, rows: int
) -> None:
    model, recorder = recorded
    plain = load_model(folder, quantize="none" if model.weights != "int8" else "int8")
    cache, replayed = PrefixCache(2**28), recorder.replayed
    for fields in ({"branch": True}, {"temperature": 0.8, "seed": 3, "stop": ["\n\n"]}, {"branch": True}):
        fields = {"n": rows, "max_tokens": 12, "logprobs": 0, **fields}
        assert ask(model, TEXT[:400], cache, **fields).texts == ask(plain, TEXT[:400], **fields).texts
    assert recorder.replayed > replayed


def test_scores_of_several_ends(recorded: tuple[Model, StrictRecorder], folder: Path) -> None:
    model, _ = recorded
    plain = load_model(folder, quantize="none" if model.weights != "int8" else "int8")
    prompts = [TEXT[:300] + end for end in ("a", "def", " b = 1")]
    fields = {"max_tokens": 0, "echo": True, "echo_from": 300, "logprobs": 1}
    ours, theirs = (
        [choice.logprobs for choice in ask(each, prompts, PrefixCache(2**28), **fields).choices]
        for each in (model, plain)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert mine is not None
        assert other is not None
        assert mine.tokens == other.tokens
        assert mine.token_logprobs == pytest.approx(other.token_logprobs, abs=2e-3)


def test_mixed_requests_share_recorded_steps(recorded: tuple[Model, StrictRecorder]) -> None:
    model, recorder = recorded
    ids = model.vocabulary.encode(TEXT)
    prompts, replayed = [ids[:60], ids[200:230], ids[:90], ids[100:101]], recorder.replayed
    for tokens, chosen in zip(prompts, decode_together(model, prompts, NEW), strict=True):
        assert names(model, chosen) == expected(model, tokens)
    assert recorder.replayed > replayed + NEW


def test_up_to_the_end_of_the_context(recorded: tuple[Model, StrictRecorder]) -> None:
    model, _ = recorded
    ids = model.vocabulary.encode(TEXT * 4)
    tokens = ids[: min(model.context, 700) - 3]
    model_context, model.context = model.context, min(model.context, 700)
    try:
        answer = ask(model, [tokens], PrefixCache(2**28), max_tokens=NEW, logprobs=0)
        assert tokens_of(model, answer) == expected(model, tokens, 3)
    finally:
        model.context = model_context


def test_a_buffer_that_grows_is_recorded_anew(tmp_path: Path) -> None:
    model, recorder = recording(save(tmp_path, SHAPES["long"].build()))
    ids = model.vocabulary.encode(TEXT)
    for length in (60, 300, 600, 60):
        tokens = ids[:length]
        answer = ask(model, [tokens], None, max_tokens=NEW, logprobs=0, chunk=64)
        assert tokens_of(model, answer) == expected(model, tokens)
    spans = recorder.recorded
    ask(model, TEXT[:200], None, n=4, max_tokens=8)
    assert recorder.recorded > spans


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_if_recording_fails_steps_go_on_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fails_at: int
) -> None:
    model, recorder = recording(save(tmp_path, TinyCodeGen().build()))
    recorder.fails_at = fails_at
    cache = PrefixCache(2**28)
    ids = model.vocabulary.encode(TEXT)
    with caplog.at_level(logging.WARNING):
        for tokens in (ids[:70], ids[:73], ids[:50] + ids[90:100], ids[:150]):
            for rows in (1, 4):
                answer = ask(model, [tokens], cache, max_tokens=NEW, logprobs=0, n=rows)
                for row in range(rows):
                    assert tokens_of(model, answer, row) == expected(model, tokens)
    assert [record.getMessage() for record in caplog.records] == [
        "steps are not recorded any more, each makes its calls anew (too little memory)"
    ]


def test_rows_for_which_memory_is_short_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, recorder = recording(save(tmp_path, TinyCodeGen().build()))
    tokens = model.vocabulary.encode(TEXT)[:70]
    two_rows = model.bytes_per_token * 256 * 2
    monkeypatch.setattr(static_step, "free_memory", lambda device: two_rows)
    for rows in (1, 4, 1):
        made = recorder.replayed + recorder.recorded
        answer = ask(model, [tokens], None, max_tokens=NEW, logprobs=0, n=rows)
        assert tokens_of(model, answer, rows - 1) == expected(model, tokens)
        # The end of the prompt is one row in each case.
        assert (recorder.replayed + recorder.recorded - made > 1) == (rows == 1)
    assert caplog.messages == []


def test_a_model_with_layers_on_disk_is_not_recorded(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", TinyCodeGen(n_layer=4).build())
    size = sum(p.numel() * 4 for p in load_model(folder).module.parameters())
    split = load_model(folder, max_memory={"cpu": size * 2 // 3}, offload_folder=str(tmp_path / "layers"))
    assert not split.record_steps(StrictRecorder())
    assert len(ask(split, TEXT[:100], max_tokens=4).texts) == 1


def test_fused_attention_is_attention(tiny: Model) -> None:
    assert tiny.layout is not None
    generator = torch.Generator().manual_seed(1)
    kv = KVCache(tiny.layout, 64)
    layer = kv._layers[0]
    for new in (20, 7, 1, 16):
        states = torch.randn(2, 1, 1, 4, new, 16, generator=generator)
        layer.put(states)
        query = torch.randn(1, 4, new, 16, generator=generator)
        mask = torch.ones(new, new, dtype=torch.bool).triu_(1) if new > 1 else None
        exact = attend(query, layer, mask)
        torch.testing.assert_close(attend_fused(query, layer), exact)
        hidden = torch.arange(64) > torch.arange(layer.length - new, layer.length)[:, None]
        values, keys = layer.pair.nan_to_num(posinf=0, neginf=0)
        torch.testing.assert_close(attend_padded(query, keys, values, hidden[None, None]), exact)


def test_reading_ahead_records_the_smallest_step(tmp_path: Path) -> None:
    model, recorder = recording(save(tmp_path, TinyCodeGen().build()))
    model.compile_ahead()
    assert recorder.recorded == 1
    progress = DecodeProgress()
    answer = ask(model, TEXT[:50], None, max_tokens=2)
    assert answer.progress.completion_tokens == progress.completion_tokens + 2
