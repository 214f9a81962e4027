"""Random text that names control tokens, of every family, changes no prompt: in every format and on every way in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fill import NAMES, family_named, family_vocabulary, fill_tokenizer, spelled

from codegen_lsp.engine.decode.prompts import prepare
from codegen_lsp.engine.fill.assembly import id_of
from codegen_lsp.engine.http.infill import parse_infill
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.fill.description import named_format
from codegen_lsp.wire.fill.families import CONTROL_TOKENS
from codegen_lsp.wire.fill.formats import FillChoice, FillFormat
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import CompletionRequest

CONTEXT = 16_384
"""Room for all that is made here: what is too long would be cut."""
NAMED = sorted(CONTROL_TOKENS | {"<|endoftext|>", "<|im_start|>", "<s>", "</s>", "<PRE>"})
HALVES = sorted({half for name in NAMED for half in (name[: len(name) // 2], name[len(name) // 2 :])})
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(NAMED),
        st.sampled_from(HALVES),
        st.sampled_from((" ", "\n", "    ", "def f(x):", "{prefix}", "{suffix}", "▁", "é", "👩")),
    ),
    min_size=1,
    max_size=12,
).map("".join)
PLACES = st.tuples(TEXTS, TEXTS, st.lists(st.tuples(TEXTS, TEXTS), max_size=2), TEXTS)
"""Prefix, suffix, paths and texts of other files, and the current file's path."""
Places = tuple[str, str, list[tuple[str, str]], str]

checked = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fields(places: Places) -> dict[str, Any]:
    prefix, suffix, files, path = places
    return {
        "prompt": f"a = {prefix}",
        "suffix": f"{suffix}\nb",
        "files": [{"path": f"{name}.py", "text": text} for name, text in files],
        "path": path,
        "max_tokens": 8,
    }


def completion(places: Places) -> CompletionRequest:
    """The request to `/v1/completions`."""
    return parse_request(fields(places))


def healed(places: Places) -> CompletionRequest:
    return parse_request(fields(places) | {"heal": True})


def infill(places: Places) -> CompletionRequest:
    """The request to `/infill`, with the cursor's line apart from the lines above it."""
    body = fields(places)
    extra = [{"filename": file["path"], "text": file["text"]} for file in body["files"]]
    around = {"input_prefix": body["prompt"], "prompt": "\n" + body["prompt"], "input_suffix": body["suffix"]}
    return parse_infill(around | {"input_extra": extra, "n_predict": 8}).completion


WAYS_IN = (completion, healed, infill)


def tame(places: Places) -> Places:
    return "x", "x", [("x", "x") for _ in places[2]], "x"


def tokens_of(model: Any, request: CompletionRequest) -> list[int]:
    (prompt,) = prepare(model, request)
    return list(prompt.tokens)


def asked(name: str, order: str | None, *, special: bool) -> Any:
    """As much of a model as a prompt depends on."""
    vocabulary = family_vocabulary(name, special=special)
    return SimpleNamespace(
        vocabulary=vocabulary,
        context=CONTEXT,
        fill=FillChoice(family_named(name), order),
    )


def check(
    model: Any, places: Places, ways: Sequence[Callable[[Places], CompletionRequest]] = WAYS_IN
) -> None:
    """Compare the control ids of a prompt with those of one whose texts name none; every text is there in full."""
    control = {i for token in CONTROL_TOKENS if (i := id_of(model.vocabulary, token)) is not None}
    control |= model.vocabulary.special
    for way in ways:
        request = way(places)
        tokens = tokens_of(model, request)
        expected = tokens_of(model, way(tame(places)))
        assert [t for t in tokens if t in control] == [t for t in expected if t in control]
        found = b"".join(model.vocabulary.bytes_of[t] for t in tokens if t not in control)
        for text in (*request.prompts, *(file.text.strip() for file in request.files)):
            assert str(text).encode() in found or request.heal
        if model.fill.order is not None:
            assert request.suffix.encode() in found


@pytest.mark.parametrize("special", [True, False], ids=["flagged", "not-flagged"])
@pytest.mark.parametrize("name", NAMES)
@checked
@given(places=PLACES)
def test_every_family_in_every_order_and_left_to_right(name: str, special: bool, places: Places) -> None:
    for order in (*family_named(name).orders, None):
        check(asked(name, order, special=special), places)


DESCRIPTIONS = {
    "brackets": {
        "psm": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
        "spm": "<fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>",
        "stop": "<filename>",
        "file": "<filename>{path}\n{text}\n",
        "current": "<filename>{path}\n",
    },
    "no-brackets": {"psm": "⟦pre⟧{prefix}⟦suf⟧{suffix}⟦mid⟧", "tokens": ["⟦pre⟧", "⟦suf⟧", "⟦mid⟧"]},
}
"""Formats of `--fim-format FILE`."""


@pytest.fixture(params=DESCRIPTIONS)
def described(request: pytest.FixtureRequest, tmp_path: Path) -> FillFormat:
    path = tmp_path / "format.json"
    path.write_text(json.dumps(DESCRIPTIONS[request.param]), encoding="utf-8")
    return named_format(str(path))


@checked
@given(places=PLACES)
def test_a_described_format(described: FillFormat, places: Places) -> None:
    names = [*family_named("StarCoder").tokens, *described.tokens]
    backend = fill_tokenizer(list(dict.fromkeys(names))).backend_tokenizer
    vocabulary = Vocabulary(backend, backend.get_vocab_size(), [0])
    spoiled = (*places[:1], places[1] + "".join(described.tokens), *places[2:])
    for order in described.orders:
        model = SimpleNamespace(vocabulary=vocabulary, context=CONTEXT, fill=FillChoice(described, order))
        check(model, spoiled)


@checked
@given(places=PLACES)
def test_a_model_without_a_family(places: Places) -> None:
    vocabulary = family_vocabulary("Qwen2.5-Coder", special=False)
    model = SimpleNamespace(vocabulary=vocabulary, context=CONTEXT, fill=None)
    prefix = f"a = {places[0]}"
    for request in (
        parse_request({"prompt": prefix}),
        parse_request({"prompt": prefix, "suffix": places[1]}),
    ):
        tokens = tokens_of(model, request)
        assert not vocabulary.special & set(tokens)
        assert spelled(vocabulary, tokens) == prefix
