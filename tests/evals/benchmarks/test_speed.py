"""`codegen-lsp bench` with a tiny model: every engine is measured or named, and a run goes on where it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.checkpoints import TinyCodeGen, save, smollm2_file
from support.served import environment

from codegen_lsp.evals.benchmarks import speed
from codegen_lsp.evals.benchmarks.speed.rounds import Child
from codegen_lsp.evals.benchmarks.speed.values import MACHINE, OURS, label, tasks
from codegen_lsp.evals.harness.records import EvaluationError, Folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OPTIONS = ("--tokens", "8", "--tokens", "32", "--quick", "--threads", "1")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "tiny", TinyCodeGen().build())


def bench(tiny: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "codegen_lsp",
        "bench",
        "--model",
        str(tiny),
        "--out",
        str(out),
        "--json",
    ]
    return subprocess.run(
        [*command, *options],
        env=environment(out.parent),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_every_engine_is_measured_or_named_and_a_run_goes_on(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    done = bench(tiny, out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    engines = {engine["name"]: engine for engine in data["engines"]}
    assert set(engines) == {spec.name for spec in speed.contenders()} - {MACHINE}
    columns = {label(task) for task in tasks(speed.SpeedSettings("", tokens=(8, 32)))}
    for name, engine in engines.items():
        assert bool(engine["milliseconds"]) != bool(engine["missing"]), name
        assert all(value > 0 for value in engine["milliseconds"].values())
        if name.startswith(OURS):
            assert set(engine["milliseconds"]) == columns
            assert set(engine["of_bandwidth"]) == {"decode 8", "decode 32"}
            assert engine["memory_mib"] > 10
            assert abs(engine["bits_more"]) < 0.05
    assert engines["transformers float32"]["bits_per_byte"] == engines[f"{OURS} float32"]["bits_per_byte"]
    assert data["bandwidth"]["bytes_per_second"] > 0
    page = (out / "report.md").read_text()
    assert all(name in page for name in engines)
    assert (out / "report.png").stat().st_size > 1000
    values = (out / "values.jsonl").read_bytes()
    again = json.loads(bench(tiny, out, *OPTIONS).stdout)
    assert (out / "values.jsonl").read_bytes() == values
    assert again == data
    other = bench(tiny, out, *OPTIONS[:-1], "2")
    assert other.returncode == 2
    assert "other settings" in other.stderr


def test_only_the_engines_that_are_named_take_part(tiny: Path, tmp_path: Path) -> None:
    name = f"{OURS} int8"
    done = bench(tiny, tmp_path / "one", *OPTIONS, "--engine", name)
    assert [engine["name"] for engine in json.loads(done.stdout)["engines"]] == [name]
    unknown = bench(tiny, tmp_path / "none", *OPTIONS, "--engine", "int8")
    assert unknown.returncode == 2
    assert "unknown engine 'int8': choose from codegen-lsp float32" in unknown.stderr


def test_engines_of_others_read_a_gguf_file_in_another_number_format(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    names = ["llama.cpp Q8_0", "OpenVINO GenAI Q8_0"]
    chosen = [option for name in names for option in ("--engine", name)]
    done = bench(smollm2_file(), tmp_path / "bench", *OPTIONS, *chosen)
    assert done.returncode == 0, done.stderr
    engines = {engine["name"]: engine for engine in json.loads(done.stdout)["engines"]}
    assert set(engines) == set(names)
    assert 130 < engines[names[0]]["weight_mib"] < 150
    assert engines[names[0]]["bits_per_byte"] > 0
    for engine in engines.values():
        measured = {"prefill 8", "decode 8", "prefill 32", "decode 32", "keystroke 32"}
        assert engine["missing"].endswith("is not installed") or set(engine["milliseconds"]) == measured


def measured(folder: Path, specs: list[speed.ContenderSpec], text: list[int]) -> dict[str, Any]:
    settings = speed.SpeedSettings("nano", tokens=(4,), rounds=1, steps=1, threads=1)
    with Folder(folder, {}) as opened:
        speed.measure(opened, settings, specs, text, lambda *_: None)
        return {record["engine"]: record for record in opened.log("engines").records}


def test_engines_that_are_not_installed_or_fail_are_named(tmp_path: Path) -> None:
    specs = [
        speed.ContenderSpec("absent", "ours", "float32", "no_such_package"),
        speed.ContenderSpec("broken", "ours", "float63"),
    ]
    records = measured(tmp_path, specs, list(range(20)))
    assert records["absent"]["error"] == "no_such_package is not installed"
    assert "float63" in records["broken"]["error"]


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="3 tokens; 6 are required"):
        measured(tmp_path, [], [1, 2, 3])


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "ended by SIGKILL"),
        (signal.SIGILL, "ended by SIGILL; install it again from its source"),
    ],
)
def test_an_engine_that_ends_in_the_middle_says_how(tmp_path: Path, number: int, words: str) -> None:
    before = psutil.Process().children()
    child = Child({"kind": "machine", "threads": 1}, tmp_path / "engines.log")
    try:
        assert child.ask()["value"] > 0
        (process,) = [p for p in psutil.Process().children() if p not in before]
        process.send_signal(number)
        for _ in range(2):
            assert words in child.ask({"task": "bandwidth"})["error"]
    finally:
        child.close()
