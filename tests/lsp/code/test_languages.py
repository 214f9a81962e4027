"""The table of languages: what holds for each entry, so that a new one is complete."""

from __future__ import annotations

import importlib
import tomllib
from collections import Counter
from pathlib import Path, PurePath

import pytest

from codegen_lsp.lsp.code.languages import EXTENSIONS, GRAMMARS, LANGUAGES, language, language_of
from codegen_lsp.lsp.code.lexer import tokens

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))


def test_no_extension_belongs_to_two_languages() -> None:
    counts = Counter(extension for entry in LANGUAGES.values() for extension in entry.extensions)
    assert [extension for extension, count in counts.items() if count > 1] == []
    assert all(extension.startswith(".") and extension == extension.lower() for extension in counts)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_comment_and_a_string_are_one_token_each(name: str) -> None:
    entry = LANGUAGES[name]
    texts = [f"{mark} 'a comment" for mark in entry.line_comments]
    texts += [f"{start} a comment {end}" for start, end in entry.block_comments]
    for text in texts:
        kinds = {token.kind for token in tokens(text, name)}
        assert kinds == {"comment"}, (text, kinds)


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_grammar_is_required_and_has_its_function(name: str) -> None:
    entry = LANGUAGES[name]
    project = PROJECT["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["engine"]]
    assert any(entry.grammar.replace("_", "-") in text for text in required)
    assert callable(getattr(importlib.import_module(entry.grammar), entry.dialect or "language"))


def test_a_file_has_the_language_of_its_name() -> None:
    assert language_of(PurePath("a/B.PY")) == "python"
    assert language_of(PurePath("notes")) == "plaintext"
    assert {language_of(PurePath("x" + extension)) for extension in EXTENSIONS} <= LANGUAGES.keys()


def test_an_unknown_language_gets_what_holds_for_most() -> None:
    assert language("brainfuck").line_comments == ("#", "//", "--")
