"""The table of families that were trained to fill in the middle.

Facts of model cards and of the code that trained the models. Detection goes from top to bottom, so a family whose
tokens are a subset of another one's comes later.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from codegen_lsp.wire.fill.formats import FillFormat, is_control

_BARS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_PLAIN = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
_PSM_BARS = "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"
_PSM_PLAIN = "<fim_prefix>{files}{current}{prefix}<fim_suffix>{suffix}<fim_middle>"

FAMILIES = (
    FillFormat(
        # Its own tokens for masks; the middle continues the prefix in SPM, which only nano was trained for.
        family="CodeGen2",
        tokens=("<mask_1>", "<sep>", "<eom>"),
        psm="{prefix}<mask_1>{suffix}<|endoftext|><sep><mask_1>",
        spm="<mask_1>{suffix}<|endoftext|><sep>{prefix}",
        stops=("<|endoftext|>",),
        models=r"codegen2(?!\.?5)",
    ),
    FillFormat(
        family="CodeGemma",
        tokens=(*_BARS, "<|file_separator|>"),
        psm=_PSM_BARS,
        file="{path}\n{text}<|file_separator|>",
        current="{path}\n",
        models=r"codegemma",
    ),
    FillFormat(
        family="Qwen2.5-Coder",
        tokens=(*_BARS, "<|repo_name|>", "<|file_sep|>"),
        psm=_PSM_BARS,
        stops=("<|fim_pad|>", "<|im_start|>", "<|im_end|>"),
        project="<|repo_name|>{name}\n",
        file="<|file_sep|>{path}\n{text}\n",
        current="<|file_sep|>{path}\n",
        models=r"qwen.*coder|codeqwen",
    ),
    FillFormat(
        family="Granite 4",
        tokens=_BARS,
        psm=_PSM_BARS,
        stops=("<|fim_pad|>", "<|end_of_text|>"),
        models=r"granite-?4",
    ),
    FillFormat(
        family="Mellum",
        tokens=(*_PLAIN, "<filename>", "<system>", "<think>"),
        spm="{files}{current}<fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>",
        file="<filename>{path}\n{text}\n",
        current="<filename>{path}\n",
        models=r"mellum",
    ),
    FillFormat(
        family="StarCoder2",
        tokens=(*_PLAIN, "<repo_name>", "<file_sep>"),
        psm="{files}<fim_prefix>{current}{prefix}<fim_suffix>{suffix}<fim_middle>",
        project="<repo_name>{name}<file_sep>",
        file="{path}\n{text}<file_sep>",
        current="{path}\n",
        models=r"starcoder-?2",
    ),
    FillFormat(
        # StarCoder, Granite code, CodeShell.
        family="StarCoder",
        tokens=(*_PLAIN, "<reponame>", "<filename>"),
        psm=_PSM_PLAIN,
        spm="<fim_prefix><fim_suffix>{suffix}<fim_middle>{files}{current}{prefix}",
        project="<reponame>{name}",
        file="<filename>{path}\n{text}\n",
        current="<filename>{path}\n",
        models=r"starcoder(?!-?2)|granite.*code|codeshell",
    ),
    FillFormat(
        # Stable-code, and others with StarCoder's three tokens.
        family="Stable-code",
        tokens=_PLAIN,
        psm="<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
        stops=("<fim_pad>",),
        models=r"stable-?code|replit",
    ),
    FillFormat(
        family="SantaCoder",
        tokens=("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
        psm="<fim-prefix>{prefix}<fim-suffix>{suffix}<fim-middle>",
        stops=("<fim-pad>",),
        models=r"santacoder",
    ),
    FillFormat(
        family="CodeLlama",
        tokens=("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"),
        psm="▁<PRE> {prefix}▁<SUF>{suffix}▁<MID>",
        spm="▁<PRE>▁<SUF>{suffix}▁<MID> {prefix}",
        models=r"code-?llama(?!.*34b)",
    ),
    FillFormat(
        family="DeepSeek-Coder",
        tokens=("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        psm="<｜fim▁begin｜>{files}{current}{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
        stops=("<|EOT|>", "<｜end▁of▁sentence｜>"),
        file="#{path}\n{text}\n",
        current="#{path}\n",
        models=r"deepseek-?coder",
    ),
    FillFormat(
        family="Codestral",
        tokens=("[SUFFIX]", "[PREFIX]"),
        spm="[SUFFIX]{suffix}[PREFIX]{files}{current}{prefix}",
        stops=("\n+++++ ",),
        file="+++++ {path}\n{text}\n\n",
        current="+++++ {path}\n",
        models=r"codestral|devstral",
    ),
    FillFormat(
        family="Seed-Coder",
        tokens=("<[fim-suffix]>", "<[fim-prefix]>", "<[fim-middle]>"),
        spm="{files}{current}<[fim-suffix]>{suffix}<[fim-prefix]>{prefix}<[fim-middle]>",
        stops=("<[end▁of▁sentence]>", "<filename>"),
        file="<filename>{path}\n{text}\n",
        current="<filename>{path}\n",
        models=r"seed-?coder",
    ),
    FillFormat(
        family="InCoder",
        tokens=("<|mask:0|>", "<|mask:1|>", "<|endofmask|>"),
        psm="{files}{current}{prefix}<|mask:0|>{suffix}<|mask:1|><|mask:0|>",
        stops=("<|/ file",),
        file="<| file ext={ext} |>\n{text}\n<|/ file |>\n",
        current="<| file ext={ext} |>\n",
        models=r"incoder",
    ),
    FillFormat(
        family="Falcon-H1-Tiny-Coder",
        tokens=("<|prefix|>", "<|suffix|>", "<|middle|>"),
        psm="<|prefix|>{prefix}<|suffix|>{suffix}<|middle|>",
        models=r"falcon.*coder",
    ),
    FillFormat(
        family="GLM-4",
        tokens=("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
        psm="{files}{current}<|code_prefix|>{prefix}<|code_suffix|>{suffix}<|code_middle|>",
        stops=("<|user|>",),
        project="###REFERENCE:\n",
        file="###PATH:{path}\n{text}\n",
        current="###PATH:{path}\n",
        models=r"codegeex-?4|glm-?4",
    ),
)
"""Every family that the engine knows by its tokens, in the order of detection."""

CONTROL_TOKENS = frozenset(
    token for family in FAMILIES for token in (*family.tokens, *family.stops) if is_control(token)
)
"""Every control token of the table. A user's text never becomes one of them, flagged as special or not."""

_CONTROL = re.compile(r"<\|.+\|>|<｜.+｜>")


def is_control_token(content: str) -> bool:
    """Return whether an added token is for control by its text, as some tokenizers don't flag theirs as special."""
    return content in CONTROL_TOKENS or _CONTROL.fullmatch(content) is not None


def unflagged(tokenizer: Any) -> list[dict[str, Any]]:
    """Return the arguments of an `AddedToken` for each control token that a tokenizer doesn't flag as special.

    A tokenizer in which they are flagged, with `encode_special_tokens`, spells their names in a text. Added tokens that
    are text, such as CodeGen's runs of spaces, are not among them.
    """
    added = {token.content: token for token in tokenizer.get_added_tokens_decoder().values()}
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    arguments = [
        {"content": name, **{flag: getattr(token, flag) for flag in flags}}
        for name, token in added.items()
        if not token.special and is_control_token(name)
    ]
    words = (
        name for name in sorted(CONTROL_TOKENS - added.keys()) if tokenizer.token_to_id(name) is not None
    )
    return arguments + [{"content": name, "normalized": False} for name in words]


def detect(token_to_id: Callable[[str], int | None]) -> FillFormat | None:
    """Return the family whose control tokens a tokenizer has, None for a model without such tokens."""
    for family in FAMILIES:
        if all(token_to_id(token) is not None for token in family.tokens):
            return family
    return None


def by_model_name(name: str) -> FillFormat | None:
    """Return the family that a model's name on a server belongs to: "qwen2.5-coder:0.5b-base" is Qwen2.5-Coder's."""
    return next((f for f in FAMILIES if f.models and re.search(f.models, name, re.IGNORECASE)), None)


def by_family(name: str) -> FillFormat | None:
    """Return a family by the name that users read, in any case."""
    return next((family for family in FAMILIES if family.family.lower() == name.strip().lower()), None)
