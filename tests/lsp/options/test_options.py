from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import codegen_lsp
from codegen_lsp.lsp.options.option_docs import describe
from codegen_lsp.lsp.options.options import (
    WORKSPACE,
    Options,
    by_json_name,
    exclusions,
    parse,
    parse_layers,
    restricted,
)


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
    assert parse({"prefixCache": "auto"})[0].prefix_cache is None
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
        ("quantize", "int3"),
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
    assert [d["name"] for d in described] == list(by_json_name())
    for option in described:
        assert option["description"].endswith((".", ").")), option
        assert "type" in option
        # A default, written as documentation shows it, is a value that can be set.
        options, problems = parse({option["name"]: option["default"]})
        assert (options, problems) == (Options(), ()), option


def test_every_option_is_read_somewhere() -> None:
    package = Path(codegen_lsp.__file__).parent / "lsp"
    source = "\n".join(path.read_text() for path in package.rglob("*.py"))
    for option in fields(Options):
        assert re.search(rf"(options|self)\.{option.name}\b", source), (
            f"{option.name} is accepted and ignored"
        )


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "candidates",
            "3",
            "Setting codegen.candidates must be a whole number from 1 to 10; got '3', so",
        ),
        ("minConfidence", 2, "Setting codegen.minConfidence must be a number from 0 to 1; got 2"),
        ("multiline", "no", "Setting codegen.multiline must be one of auto, never, always; got 'no'"),
        (
            "languages",
            {"c": 1},
            "Setting codegen.languages must be an object of language ids with true or false",
        ),
        ("model", "a\0b", "Setting codegen.model: holds a character that no name or path can have"),
        ("model", "\ud800", "Setting codegen.model: holds a character that no name or path can have"),
        ("model", "--trust", "Setting codegen.model: starts with '-'"),
        ("model", "x" * 5000, "Setting codegen.model: is longer than 4,096 characters"),
        ("offloadFolder", "~no-such-user/x", "Setting codegen.offloadFolder: there is no home folder for"),
        ("maxFileSize", "9" * 309, "Setting codegen.maxFileSize: expected a size such as 512MiB"),
        (
            "prefixCache",
            "5000000TiB",
            "Setting codegen.prefixCache: a size of 5000000TiB is more than any machine has",
        ),
        ("prefixCache", 10**400, "Setting codegen.prefixCache must be auto, a size such as 512MiB"),
        ("prefixCache", 10**5000, "Setting codegen.prefixCache must be auto, a size such as 512MiB"),
        ("maxMemory", {"9" * 400: 1}, "Setting codegen.maxMemory: expected device=size"),
        ("maxMemory", "0=" + "9" * 400, "Setting codegen.maxMemory: expected a size"),
        ("debounce", 10**400, "Setting codegen.debounce must be a whole number from 0 to 5,000"),
        ("temperature", 10**400, "Setting codegen.temperature must be a number from 0 to 2"),
        ("temperature", float("inf"), "Setting codegen.temperature must be a number from 0 to 2"),
        ("token", "pässword", "Setting codegen.token: the token holds characters other than visible ASCII"),
        ("token", "two words", "Setting codegen.token: the token holds characters other than visible ASCII"),
        (
            "token",
            "line\nbreak",
            "Setting codegen.token: the token holds characters other than visible ASCII",
        ),
        (
            "server",
            "http://[::1",
            "Setting codegen.server: expected an address such as http://localhost:8000",
        ),
        (
            "server",
            "http://h:99999",
            "Setting codegen.server: expected an address such as http://localhost:8000",
        ),
        (
            "server",
            "http://ho st",
            "Setting codegen.server: expected an address such as http://localhost:8000",
        ),
        (
            "server",
            "http://hö.st",
            "Setting codegen.server: expected an address such as http://localhost:8000",
        ),
        ("server", "http://", "Setting codegen.server: expected an address such as http://localhost:8000"),
        ("server", "ftp://host", "Setting codegen.server: expected an address such as http://localhost:8000"),
        (
            "server",
            "http://h?a=b",
            "Setting codegen.server: expected an address such as http://localhost:8000",
        ),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else "number",
)
def test_a_value_that_can_t_be_used_gives_one_sentence_and_the_default(
    key: str, value: object, sentence: str
) -> None:
    options, problems = parse({key: value})
    assert options == Options()
    (problem,) = problems
    assert problem.startswith(sentence)
    assert "so the default" in problem
    assert len(problem) < 300
    options.engine_config()


def test_a_password_in_an_address_is_not_repeated() -> None:
    _, (problem,) = parse({"server": "ftp://me:s3cret@host"})
    assert "s3cret" not in problem
    _, (problem,) = parse({"token": "s3crét"})
    assert "s3cr" not in problem


@pytest.mark.parametrize(
    "address", ["HTTP://host:1", "Http://host:1/V1/".replace("V", "v"), " http://host:1/v1 "]
)
def test_an_address_may_be_written_in_several_ways(address: str) -> None:
    assert parse({"server": address}) == (Options(server="http://host:1"), ())


CHOICES: dict[str, object] = {
    "server": "http://theirs",
    "serverModel": "theirs",
    "token": "theirs",
    "model": "/theirs",
    "revision": "theirs",
    "allowPickle": True,
    "deviceMap": "cpu",
    "maxMemory": "cpu=1GiB",
    "offloadFolder": "/theirs",
    "prefixCache": "9GiB",
    "threads": 99,
    "dtype": "float32",
    "quantize": "int8",
    "idleTimeout": 0,
    "fillInTheMiddle": "always",
    "fimFormat": "theirs",
}


def test_every_restricted_option_is_tested() -> None:
    assert set(CHOICES) == set(restricted())


@pytest.mark.parametrize(("key", "value"), CHOICES.items(), ids=list(CHOICES))
def test_a_workspace_can_t_choose_a_restricted_option(key: str, value: object) -> None:
    base = Options(candidates=5)
    options, (problem,) = parse({key: value}, base, trusted=False)
    assert options == base
    assert problem.startswith(f"Setting codegen.{key} is ignored, because a workspace could have chosen it")
    user, problems = parse({key: value})
    assert problems == ()
    assert user != Options()
    # A client that sends the same settings in both places, or every default, is not bothered.
    assert parse({key: value}, user, trusted=False) == (user, ())
    assert parse({key: None}, user, trusted=False) == (user, ())


def test_a_workspace_can_make_an_exclusion_stricter_and_not_weaker() -> None:
    user, _ = parse({"languages": {"markdown": False}, "maxFileSize": 100})
    theirs = {"languages": {"*": False, "markdown": True, "c": True}, "maxFileSize": "1GiB", "enabled": False}
    options, problems = parse(theirs, user, trusted=False)
    assert problems == ()
    assert not options.enabled
    assert options.max_file_size == 100
    assert options.serves("c")
    assert not options.serves("markdown")
    assert not options.serves("python")
    off, _ = parse({"enabled": False})
    assert not parse({"enabled": True}, off, trusted=False)[0].enabled
    assert parse({"maxFileSize": 7}, user, trusted=False)[0].max_file_size == 7
    assert set(exclusions()) == {"enabled", "languages", "maxFileSize", *SWITCHES, *OTHER_FILES}


SWITCHES = ("inline", "menu", "writeBody", "warm")


@pytest.mark.parametrize("key", SWITCHES)
def test_a_workspace_can_t_turn_on_what_the_user_turned_off(key: str) -> None:
    off, _ = parse({key: False})
    assert parse({key: True}, off, trusted=False) == (off, ())
    assert parse({key: None}, off, trusted=False) == (off, ())
    assert parse({key: False}, trusted=False)[0] == off


def test_a_client_keeps_the_user_s_and_the_workspace_s_settings_apart() -> None:
    user = {"server": "http://mine", "token": "secret", "languages": {"c": False}, "maxFileSize": 9}
    theirs = {"candidates": 7, "enabled": True, "maxFileSize": 99, "languages": {"c": True, "go": False}}
    hostile = {"server": "http://theirs", "token": "x", "codegen": {"server": "http://theirs"}}
    alone, _ = parse(user)
    options, problems = parse_layers(user | {WORKSPACE: theirs | hostile}, Options())
    assert (options.server, options.token, options.max_file_size) == ("http://mine", "secret", 9)
    assert (options.candidates, options.enabled) == (7, True)
    assert [options.serves(language) for language in ("c", "go", "python")] == [False, False, True]
    assert any("codegen.server is ignored" in problem for problem in problems)
    assert any("codegen.token is ignored" in problem for problem in problems)
    # A section within the section is not looked into: a client that leaves out names may have missed it.
    assert parse_layers(user | {"codegen": hostile}, Options()) == (alone, ())
    assert parse_layers({WORKSPACE: {"codegen": hostile}}, alone)[0] == alone
    for odd in (None, [], "x", {WORKSPACE: None}, {WORKSPACE: []}, {WORKSPACE: {WORKSPACE: hostile}}):
        assert parse_layers(odd, alone)[0] == alone


OTHER_FILES = {"otherFiles", "similarFiles", "otherFilesShare", "otherFilesLimit", "otherFileSize", "exclude"}


def test_a_workspace_can_exclude_more_files_and_not_fewer() -> None:
    user, _ = parse({"exclude": ["*.secret", "!*.crt"], "otherFiles": "auto", "otherFilesShare": 0.1})
    theirs = {"exclude": ["gen/", "!*.secret", "!.env"], "otherFiles": "always", "otherFilesShare": 0.5}
    options, problems = parse(theirs | {"similarFiles": True}, user, trusted=False)
    assert problems == ()
    assert options.exclude == ("*.secret", "!*.crt", "gen/")
    assert (options.other_files, options.other_files_share, options.similar_files) == ("auto", 0.1, False)
    assert parse({"otherFiles": "never"}, user, trusted=False)[0].other_files == "never"


@pytest.mark.parametrize(
    ("server", "choice", "shown", "told"),
    [
        ("", "auto", False, True),
        ("http://127.0.0.1:8000", "auto", True, True),
        ("http://gpu.example", "auto", False, False),
        ("http://gpu.example", "always", True, True),
        ("http://gpu.example", "never", False, True),  # only the file's own names are known then
        ("", "never", False, True),
    ],
)
def test_other_files_are_not_sent_to_another_machine_unless_the_user_says_so(
    server: str, choice: str, shown: bool, told: bool
) -> None:
    options, problems = parse({"server": server, "otherFiles": choice})
    assert problems == ()
    assert (options.shows_other_files, options.tells_names) == (shown, told)
    if not server:  # small models gain nothing from other files
        for model, gains in (("350M-mono", True), ("smollm2-135m", False)):
            other, _ = parse({"model": model, "otherFiles": choice})
            assert other.shows_other_files is (gains and choice != "never")


@pytest.mark.parametrize("patterns", ["*.py", [1], ["x" * 301], ["a"] * 501])
def test_patterns_that_cannot_be_used_are_reported(patterns: object) -> None:
    options, problems = parse({"exclude": patterns})
    assert options.exclude == ()
    assert len(problems) == 1
    assert "codegen.exclude" in problems[0]


def test_a_token_is_not_sent_to_another_address_than_the_one_it_was_given_for() -> None:
    user, _ = parse({"server": "http://mine", "token": "s3cret"})
    options, (problem,) = parse({"server": "http://theirs"}, user)
    assert (options.server, options.token) == ("http://theirs", "")
    assert problem.startswith("Setting codegen.token was given for another address")
    assert parse({"server": "http://mine/v1"}, user) == (user, ())
    both, problems = parse({"server": "http://other", "token": "other"}, user)
    assert (both.token, problems) == ("other", ())


def test_a_flood_of_wrong_settings_is_told_in_a_few_sentences() -> None:
    _, problems = parse({f"setting{number}": number for number in range(1000)})
    assert len(problems) == 21
    assert problems[-1] == "980 more settings are wrong."
