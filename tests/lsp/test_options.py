from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import codegen_lsp
from codegen_lsp.lsp.options import Options, describe, json_name, parse


def test_nothing_set_gives_the_defaults() -> None:
    assert parse({}) == (Options(), ())
    assert parse(None) == (Options(), ())


def test_values_are_read_and_typed() -> None:
    options, problems = parse(
        {
            "model": "350M-mono",
            "maxFileSize": "2MiB",
            "prefixCache": 1024,
            "maxMemory": {"0": "20GiB", "cpu": 5},
            "languages": {"markdown": False},
            "minConfidence": 1,
            "candidates": 5.0,
            "server": "http://localhost:8000/v1/",
        }
    )
    assert problems == ()
    assert options.model == "350M-mono"
    assert options.max_file_size == 2 * 2**20
    assert options.prefix_cache == 1024
    assert options.max_memory == {"0": 20 * 2**30, "cpu": 5}
    assert not options.serves("markdown")
    assert options.serves("python")
    assert options.min_confidence == 1.0
    assert options.candidates == 5
    assert options.server == "http://localhost:8000"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("candidates", "3"),
        ("candidates", 0),
        ("candidates", True),
        ("candidates", 2.5),
        ("minConfidence", 1.5),
        ("minConfidence", float("nan")),
        ("minConfidence", False),
        ("enabled", "yes"),
        ("model", ""),
        ("model", 7),
        ("dtype", "int3"),
        ("deviceMap", "gpu"),
        ("deviceMap", ["auto"]),
        ("maxMemory", "all"),
        ("maxMemory", {"0": [1]}),
        ("maxFileSize", "big"),
        ("maxFileSize", -1),
        ("maxFileSize", [1]),
        ("languages", ["python"]),
        ("languages", {"python": "on"}),
        ("multiline", "sometimes"),
        ("multiline", {}),
        ("server", "localhost:8000"),
        ("server", 1),
        ("logLevel", "loud"),
    ],
)
def test_a_bad_value_is_told_once_and_the_default_applies(key: str, value: object) -> None:
    options, problems = parse({key: value})
    assert options == Options()
    (problem,) = problems
    assert f"codegen.{key}" in problem
    assert "default" in problem


def test_one_bad_value_costs_no_good_one() -> None:
    options, problems = parse({"candidates": [], "debounce": 50})
    assert options.debounce == 50
    assert len(problems) == 1


@pytest.mark.parametrize("settings", [[], "x", 3, True])
def test_settings_that_are_no_object_are_told(settings: object) -> None:
    options, problems = parse(settings)
    assert options == Options()
    assert len(problems) == 1


def test_an_unknown_key_is_told_with_the_nearest_known() -> None:
    _, problems = parse({"modle": "nano", "zzzzqqq": 1})
    assert "codegen.model?" in problems[0]
    assert "not known." in problems[1]


def test_what_clients_send_besides_settings_is_no_problem() -> None:
    assert parse({"editorInfo": {"name": "vim"}, "editorPluginInfo": {"name": "x"}}) == (Options(), ())


def test_settings_are_laid_over_initialization_options() -> None:
    base, _ = parse({"model": "2B-mono", "candidates": 5})
    options, _ = parse({"candidates": None}, base)
    assert options.model == "2B-mono"
    assert options.candidates == Options().candidates


def test_a_whole_settings_file_may_hold_the_section() -> None:
    options, problems = parse({"codegen": {"debounce": 20}})
    assert (options.debounce, problems) == (20, ())


def test_a_token_is_not_repeated_in_a_message() -> None:
    _, (problem,) = parse({"token": ["s3cret"]})
    assert "s3cret" not in problem


def test_folders_are_absolute_and_names_are_not() -> None:
    options, _ = parse({"model": "~/checkpoint", "offloadFolder": "spill"})
    config = options.engine_config()
    assert config.model == str(Path.home() / "checkpoint")
    assert Path(config.offload_folder or "").is_absolute()
    assert Options(model="nano").engine_config().model == "nano"
    assert Options(model="owner/codegen").engine_config().model == "owner/codegen"


def test_every_option_is_described() -> None:
    described = describe()
    assert [d["name"] for d in described] == [json_name(f.name) for f in fields(Options)]
    for option in described:
        assert option["description"].endswith((".", ").")), option
        assert "type" in option
        # A default, written as documentation shows it, is a value that can be set.
        options, problems = parse({option["name"]: option["default"]})
        assert (options, problems) == (Options(), ()), option


def test_every_option_is_read_somewhere() -> None:
    package = Path(codegen_lsp.__file__).parent / "lsp"
    source = "\n".join(path.read_text() for path in package.glob("*.py"))
    for option in fields(Options):
        assert re.search(rf"(options|self)\.{option.name}\b", source), (
            f"{option.name} is accepted and ignored"
        )
