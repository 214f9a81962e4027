"""Which model suits which machine."""

from __future__ import annotations

import pytest
from transformers import AutoConfig

from codegen_lsp.engine.advice import machine as machines
from codegen_lsp.engine.advice.machine import GIB, MachineMemory
from codegen_lsp.engine.advice.named_models import named_models
from codegen_lsp.engine.advice.recommend import PATIENCE, advise, best, sentence
from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.checkpoints.dimensions import short_names
from codegen_lsp.engine.checkpoints.placement import empty_module


def machine(gib: float, gigabytes_a_second: float, device: str = "cpu") -> MachineMemory:
    return MachineMemory(device, int(gib * GIB), gigabytes_a_second * 1e9, device != "cpu")


def recommended(one: MachineMemory) -> str:
    chosen = best(advise(one))
    assert chosen is not None
    return chosen.model.name


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (machine(80, 2000, "cuda:0"), "Qwen/Qwen2.5-Coder-7B"),
        (machine(8, 400, "cuda:0"), "Qwen/Qwen2.5-Coder-1.5B"),
        (machine(32, 200), "Qwen/Qwen2.5-Coder-1.5B"),
        (machine(16, 40), "Qwen/Qwen2.5-Coder-0.5B"),
        (machine(8, 10), "smollm2-135m"),
        (machine(8, 1), "nano"),
        (machine(0.1, 40), "nano"),
    ],
)
def test_the_best_model_that_fits_and_is_in_time(one: MachineMemory, name: str) -> None:
    assert recommended(one) == name


def test_the_fastest_if_none_is_in_time_and_nothing_if_none_fits() -> None:
    assert recommended(machine(8, 0.001)) == "nano"
    assert best(advise(machine(0.001, 40))) is None


def test_every_model_has_its_sizes_and_times() -> None:
    advices = {advice.model.name: advice for advice in advise(machine(8, 40))}
    codegen = advices["2B-mono"]
    assert codegen.sizes["bfloat16"] == pytest.approx(2 * 2.78e9, rel=0.01)
    assert codegen.line == pytest.approx(10 * codegen.key)
    assert not codegen.in_time
    assert not advices["16B-mono"].fits
    json = codegen.to_json()
    assert (json["name"], json["licence"], json["fills"]) == ("2B-mono", "BSD-3-Clause", False)
    small = advices["smollm2-135m"]
    assert small.line < PATIENCE
    assert "smollm2-135m at int8: 0.13 GiB, about" in sentence(small)


def test_every_named_model_can_be_named() -> None:
    models = named_models()
    names = [model.name for model in models]
    assert len(set(names)) == len(names)
    assert set(short_names()) < set(names)
    for name in names:
        locate.resolve(name)
    assert {model.fills for model in models if "Qwen" in model.name} == {True}


def test_nano_s_parameters_are_its_weights() -> None:
    nano = named_models()[0]
    module = empty_module(AutoConfig.from_pretrained(NANO_FOLDER), dtype=None)
    assert nano.parameters == module.num_parameters()


def test_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "SAMPLE", 2**22)
    measured = machines.measure()
    assert measured.bandwidth > 1e8
    assert measured.free > measured.room > 0
