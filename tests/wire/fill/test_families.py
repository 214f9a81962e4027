"""The table of families, row by row."""

from __future__ import annotations

import pytest

from codegen_lsp.wire.fill import families
from codegen_lsp.wire.fill.formats import Control, Placeholder, is_control

ROWS = {
    # family: (orders, a token that tells it from the others, ends of a middle)
    "CodeGen2": (("spm", "psm"), "<eom>", {"<eom>"}),
    "CodeGemma": (("psm",), "<|file_separator|>", {"<|file_separator|>", "<|fim_prefix|>"}),
    "Qwen2.5-Coder": (
        ("psm",),
        "<|file_sep|>",
        {"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_end|>"},
    ),
    "Granite 4": (("psm",), "<|fim_prefix|>", {"<|end_of_text|>"}),
    "Mellum": (("spm",), "<think>", {"<filename>"}),
    "StarCoder2": (("psm",), "<file_sep>", {"<file_sep>"}),
    "StarCoder": (
        ("spm", "psm"),
        "<filename>",
        {"<filename>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    ),
    "Stable-code": (("psm",), "<fim_prefix>", {"<fim_prefix>"}),
    "SantaCoder": (("psm",), "<fim-prefix>", {"<fim-prefix>"}),
    "CodeLlama": (("spm", "psm"), "▁<PRE>", {"▁<EOT>"}),
    "DeepSeek-Coder": (("psm",), "<｜fim▁hole｜>", {"<|EOT|>", "<｜end▁of▁sentence｜>"}),
    "Codestral": (("spm",), "[SUFFIX]", {"\n+++++ "}),
    "Seed-Coder": (("spm",), "<[fim-suffix]>", {"<[end▁of▁sentence]>"}),
    "InCoder": (("psm",), "<|mask:0|>", {"<|endofmask|>", "<|/ file"}),
    "Falcon-H1-Tiny-Coder": (("psm",), "<|prefix|>", {"<|prefix|>"}),
    "GLM-4": (("psm",), "<|code_prefix|>", {"<|user|>"}),
}

MODELS = {
    "Salesforce/codegen2-1B_P": "CodeGen2",
    "codegemma:2b-code": "CodeGemma",
    "qwen2.5-coder:0.5b-base": "Qwen2.5-Coder",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "Qwen2.5-Coder",
    "ibm-granite/granite-4.0-micro": "Granite 4",
    "granite-code:3b-base": "StarCoder",
    "JetBrains/Mellum-4b-base": "Mellum",
    "starcoder2:3b": "StarCoder2",
    "bigcode/starcoderbase-1b": "StarCoder",
    "stabilityai/stable-code-3b": "Stable-code",
    "bigcode/santacoder": "SantaCoder",
    "codellama/CodeLlama-7b-hf": "CodeLlama",
    "codellama/CodeLlama-34b-hf": None,
    "deepseek-ai/deepseek-coder-1.3b-base": "DeepSeek-Coder",
    "mistralai/Codestral-22B-v0.1": "Codestral",
    "ByteDance-Seed/Seed-Coder-8B-Base": "Seed-Coder",
    "facebook/incoder-1B": "InCoder",
    "tiiuae/Falcon-H1-Tiny-Coder-90M": "Falcon-H1-Tiny-Coder",
    "codegeex4": "GLM-4",
    "gpt-4o": None,
    "Salesforce/codegen-350M-mono": None,
    "Salesforce/codegen25-7b-mono": None,
}


def test_every_family_has_a_row_here() -> None:
    assert {family.family for family in families.FAMILIES} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_family_is_found_by_its_tokens(name: str) -> None:
    orders, telling, ends = ROWS[name]
    family = families.by_family(name)
    assert family is not None
    assert family.orders == orders
    assert telling in family.tokens
    assert ends <= {*family.tokens, *family.stops}
    vocabulary = {token: number for number, token in enumerate((*family.tokens, "def", "x"))}
    assert families.detect(vocabulary.get) is family


@pytest.mark.parametrize("name", ROWS)
def test_a_token_that_is_missing_is_not_enough(name: str) -> None:
    family = families.by_family(name)
    assert family is not None
    for missing in family.tokens:
        vocabulary = {token: number for number, token in enumerate(family.tokens) if token != missing}
        assert families.detect(vocabulary.get) is not family


def test_a_model_without_such_tokens_has_no_family() -> None:
    assert families.detect({"<|endoftext|>": 0, "def": 1}.get) is None


@pytest.mark.parametrize(("model", "family"), MODELS.items())
def test_a_server_s_model_is_looked_up_by_name(model: str, family: str | None) -> None:
    found = families.by_model_name(model)
    assert (found.family if found else None) == family


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.family)
def test_templates_hold_what_they_need(family: families.FillFormat) -> None:
    for order in family.orders:
        parts = family.parts(family.template(order))
        names = [part.name for part in parts if isinstance(part, Placeholder)]
        assert sorted(names) == ["current", "files", "prefix", "suffix"]
        assert (
            names.index("suffix") < names.index("prefix")
            if order == "spm"
            else names.index("prefix") < names.index("suffix")
        )
        assert any(isinstance(part, Control) for part in parts)
    for template in (family.project, family.file, family.current, family.template(family.orders[0])):
        # What looks like a control token is one.
        assert not [part for part in family.parts(template) if isinstance(part, str) and is_control(part)]
    if family.file:
        assert "{text}" in family.file
        assert "{path}" in family.file or "{ext}" in family.file
