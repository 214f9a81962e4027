"""The probe prefers what a model was trained for, and rejects tokens that it was not trained with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fill import GAPS, STARCODER, family_named, save_to_copy
from support.local import ask, load_model

from codegen_lsp.engine.checkpoints import fill_verdicts as verdicts
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.fill import choice
from codegen_lsp.engine.fill.probe import judge, probe
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.fill.formats import FillChoice
from codegen_lsp.wire.fill.info import fill_info
from codegen_lsp.wire.requests import CompletionRequest

FAMILY = family_named(STARCODER)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Path]:
    """Checkpoints that were trained with the prefix first, with the suffix first, and without control tokens."""
    return {order: save_to_copy(tmp_path_factory.mktemp(str(order)), order) for order in ("psm", "spm", None)}


@pytest.fixture(scope="module")
def models(folders: dict[str | None, Path]) -> dict[str | None, Model]:
    return {order: load_model(folder) for order, folder in folders.items()}


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_what_was_trained_wins(models: dict[str | None, Model], order: str) -> None:
    found = probe(models[order], FAMILY, GAPS)
    assert found.order == order
    assert found.scores[order] > max(value for name, value in found.scores.items() if name != order) + 0.3
    assert order in found.reason


def test_tokens_that_were_not_trained_are_rejected(models: dict[str | None, Model]) -> None:
    found = probe(models[None], FAMILY, GAPS)
    assert found.order is None
    assert "was not trained" in found.reason


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_a_middle_comes_from_the_suffix(models: dict[str | None, Model], order: str) -> None:
    model = models[order]
    model.fill = FillChoice(FAMILY, order)
    for each in GAPS:
        answer = ask(model, each.prefix, suffix=each.suffix, max_tokens=8)
        assert answer.text == each.middle
        assert answer.choices[0].finish_reason == "stop"
    # The model of one order, asked in the other one, or without the suffix, does not know.
    model.fill = FillChoice(FAMILY, "spm" if order == "psm" else "psm")
    assert [ask(model, g.prefix, suffix=g.suffix, max_tokens=8).text for g in GAPS] != [
        g.middle for g in GAPS
    ]
    model.fill = FillChoice(FAMILY, None)
    assert [ask(model, g.prefix, suffix=g.suffix, max_tokens=8).text for g in GAPS] != [
        g.middle for g in GAPS
    ]


def test_healing_inside_a_middle(models: dict[str | None, Model]) -> None:
    """The prefix ends within a word: its start is spelled again, and the middle completes it."""
    model = models["spm"]
    model.fill = FillChoice(FAMILY, "spm")
    for each in GAPS:
        half = len(each.middle) // 2
        answer = ask(model, each.prefix + each.middle[:half], suffix=each.suffix, max_tokens=8, heal=True)
        assert answer.text == each.middle[half:]


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_healed_tokens_are_not_read(models: dict[str | None, Model], order: str) -> None:
    model = models[order]
    model.fill = FillChoice(FAMILY, order)
    request = CompletionRequest(("class text:\n    key = mod",), suffix="\n    use(model)\n", heal=True)
    (prompt,) = prepare(model, request)
    read = b"".join(model.vocabulary.bytes_of[t] for t in prompt.tokens[: prompt.kept]).decode()
    template = FAMILY.psm if order == "psm" else FAMILY.spm
    before = "class text:\n    key = mod".removesuffix(prompt.pending.decode())
    assert prompt.pending
    assert read == template.format(prefix=before, suffix="\n    use(model)\n", files="", current="")


def test_a_keystroke_costs_a_few_tokens_with_the_suffix_first(models: dict[str | None, Model]) -> None:
    model = models["spm"]
    model.fill = FillChoice(FAMILY, "spm")
    cache = PrefixCache(2**26)
    suffix = "\n" + "    use(model)\n" * 5
    read = []
    for count in range(1, 12):
        text = "class text:\n    key = model.index"[: 17 + count]
        answer = ask(model, text, cache, suffix=suffix, max_tokens=1, heal=True)
        read.append(answer.progress.prefilled_tokens)
    assert max(read[1:]) <= 4


def test_the_budget_is_exact(models: dict[str | None, Model]) -> None:
    """Prefix and suffix share what the completion leaves of the context, whatever their lengths."""
    for order in ("psm", "spm"):
        model = models[order]
        model.fill = FillChoice(FAMILY, order)
        for before, after in ((1000, 10), (10, 1000), (1000, 1000), (10, 10)):
            request = CompletionRequest(("p = 1\n" * before,), suffix="s = 2\n" * after, max_tokens=56)
            (prompt,) = prepare(model, request)
            assert len(prompt.tokens) <= model.context - 56
            text = b"".join(model.vocabulary.bytes_of[t] for t in prompt.tokens).decode()
            assert "p = 1\n" in text
            assert "s = 2\n" in text
            if before + after > 100:
                assert len(prompt.tokens) > (model.context - 56) * 3 // 4


def test_a_row_ends_where_it_meets_the_suffix(models: dict[str | None, Model]) -> None:
    """With every model: the text that follows stands in the file already."""
    model = models[None]
    model.fill = None
    plain = ask(model, "class text:\n    key = ", max_tokens=30).text
    meeting = plain[2:40]
    assert len(meeting.split("\n")) >= 2
    answer = ask(model, "class text:\n    key = ", max_tokens=30, suffix=f"{meeting}\nmore_of_it = 1\n")
    assert answer.text in (plain, plain[:2])


def test_scores_decide() -> None:
    def order(scores: dict[str, float], **ends: float) -> str | None:
        return judge(FAMILY, {"left-to-right": -2.0, **scores}, {"psm": -0.5, "spm": -0.5} | ends).order

    assert order({"psm": -1.0, "spm": -3.0}) == "psm"
    # The order that keeps the cache wins unless it is clearly worse.
    assert order({"psm": -1.0, "spm": -1.1}) == "spm"
    assert order({"psm": -1.0, "spm": -1.5}) == "psm"
    assert order({"psm": -1.98, "spm": -1.99}) is None
    # A model that never ends a middle was not trained to.
    assert order({"psm": -1.0, "spm": -1.0}, psm=-9.0, spm=-9.0) is None


# The choice at load


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(folder))
    return folder


def chosen(model: Model, folder: Path, **fields: str) -> FillChoice | None:
    return choice.choose(model, EngineConfig(model=str(folder), **fields), folder)


def test_a_verdict_is_kept_until_the_checkpoint_changes(
    models: dict[str | None, Model], folders: dict[str | None, Path], runtime: Path
) -> None:
    model, folder = models["psm"], folders["psm"]
    assert verdicts.read(folder) is None
    first = chosen(model, folder)
    assert first is not None
    kept = verdicts.read(folder)
    assert kept is not None
    assert (kept.family, kept.order) == (STARCODER, first.order)
    (path,) = runtime.glob("fill-*.json")
    path.write_text(path.read_text().replace('"reason":"', '"reason":"remembered: '))
    again = chosen(model, folder)
    assert again is not None
    assert again.reason.startswith("remembered: ")
    (folder / "note.txt").write_text("changed")
    assert verdicts.read(folder) is None
    (folder / "note.txt").unlink()
    path.write_text("{")
    assert verdicts.read(folder) is None


def test_the_setting_decides(
    models: dict[str | None, Model], folders: dict[str | None, Path], runtime: Path
) -> None:
    model, folder = models[None], folders[None]
    for mode, fills in (("never", False), ("always", True)):
        found = chosen(model, folder, fill_in_the_middle=mode)
        assert found is not None
        assert (found.order is not None) == fills


def test_a_description_may_prefer_left_to_right(
    models: dict[str | None, Model], folders: dict[str | None, Path], runtime: Path
) -> None:
    model, folder = models["psm"], folders["psm"]
    path = runtime.parent / "format.json"
    psm = FAMILY.psm.replace("{files}{current}", "")
    path.write_text(json.dumps({"psm": psm, "left_to_right": True, "suffix_ranking": True}))
    for mode, order in (("auto", None), ("always", "psm"), ("never", None)):
        found = chosen(model, folder, fim_format=str(path), fill_in_the_middle=mode)
        assert found is not None
        assert found.order == order
        assert fill_info(found).suffix_ranking


def test_a_described_format(
    models: dict[str | None, Model], folders: dict[str | None, Path], runtime: Path
) -> None:
    model, folder = models["psm"], folders["psm"]
    path = runtime.parent / "format.json"
    path.write_text(json.dumps({"family": "Ours", "psm": FAMILY.psm.replace("{files}{current}", "")}))
    found = chosen(model, folder, fim_format=str(path), fill_in_the_middle="always")
    assert found is not None
    assert (found.format.family, found.order) == ("Ours", "psm")
    path.write_text(json.dumps({"psm": "<pre>{prefix}<suf>{suffix}<mid>"}))
    with pytest.raises(CheckpointError, match="has no token <pre>, <suf>, <mid>"):
        chosen(model, folder, fim_format=str(path))
    path.write_text("[]")
    with pytest.raises(CheckpointError, match="Expected `object`"):
        chosen(model, folder, fim_format=str(path))
    with pytest.raises(CheckpointError, match="neither a family"):
        chosen(model, folder, fim_format="qwen9")


def test_a_configuration_may_describe_its_format(
    models: dict[str | None, Model], folders: dict[str | None, Path], runtime: Path
) -> None:
    model, folder = models["spm"], folders["spm"]
    config = model.module.config
    config.fill_in_the_middle = {"spm": "<fim_suffix>{suffix}<fim_prefix>{prefix}", "stop": "<|endoftext|>"}
    found = chosen(model, folder)
    config.fill_in_the_middle = {"spm": 3}
    fallen_back = chosen(model, folder)
    del config.fill_in_the_middle
    assert found is not None
    assert fallen_back is not None
    assert found.format.family == "described"
    assert fallen_back.format.family == STARCODER


def test_a_model_without_tokens_completes_left_to_right(
    tiny: Model, tiny_folder: Path, runtime: Path
) -> None:
    assert chosen(tiny, tiny_folder) is None
