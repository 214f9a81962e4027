"""How a model family wants to be asked for the text between a prefix and a suffix. Data only, with its checks.

A format has up to two templates, in which control tokens stand as the tokenizer spells them:

    PSM   <fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>
    SPM   <fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>

With SPM the prefix comes last, so that a keystroke appends to the prompt and the engine's cache keeps the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Order = Literal["psm", "spm"]
FillMode = Literal["auto", "always", "never"]
"""The setting: let the probe decide, fill whatever the probe says, or complete left to right."""

LEFT_TO_RIGHT = "left-to-right"

PLACEHOLDERS = ("prefix", "suffix", "files", "current", "path", "ext", "text", "name")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A part of a template that is replaced: `{prefix}`."""

    name: str


@dataclass(frozen=True, slots=True)
class Control:
    """A part of a template that is one control token: `<fim_middle>`."""

    token: str


Part = Placeholder | Control | str
"""A part of a template; a string is plain text."""


@dataclass(frozen=True, slots=True)
class FillFormat:
    """How one model family is asked to fill in the middle."""

    family: str
    """The family's name, as users read it."""
    tokens: tuple[str, ...]
    """Control tokens. A tokenizer that has all of them belongs to a model of this family."""
    psm: str = ""
    """Template with the prefix first; empty if the family was not trained so."""
    spm: str = ""
    """Template with the suffix first; empty if the family was not trained so."""
    stops: tuple[str, ...] = ()
    """What ends a middle besides the end of text and `tokens`: control tokens, or plain text."""
    project: str = ""
    """Template that opens a prompt with other files; `{name}` is the project's name."""
    file: str = ""
    """Template of another file, of `{path}` or `{ext}` and `{text}`; empty if the family has none."""
    current: str = ""
    """Template of what names the current file after other files, of `{path}` or `{ext}`."""
    suffix_ranking: bool = False
    """Whether middles are also ranked by the text after them, because an evaluation of the model shows a gain."""
    left_to_right: bool = False
    """Whether a model that was trained so is asked left to right unless the user's setting is `always`."""
    models: str = ""
    """Regular expression for names of models of the family on servers whose tokens can't be looked up."""

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that the family was trained in, the one that keeps the prefix cache first."""
        return tuple(order for order in ("spm", "psm") if getattr(self, order))

    def template(self, order: Order) -> str:
        """Return the template of an order, with the place of other files marked."""
        template = self.spm if order == "spm" else self.psm
        return template if "{files}" in template else "{files}{current}" + template

    def parts(self, template: str) -> tuple[Part, ...]:
        """Return the parts of one of this format's templates."""
        return split(template, (*self.tokens, *filter(is_control, self.stops)))


@lru_cache(maxsize=256)
def split(template: str, tokens: tuple[str, ...]) -> tuple[Part, ...]:
    """Return a template's parts: placeholders, control tokens, and the text between them.

    "#{path}<fim_middle>" gives "#", a placeholder and a control token.
    """
    names = sorted(map(re.escape, tokens), key=len, reverse=True)
    pattern = re.compile("|".join((_PLACEHOLDER.pattern, *names)))
    parts: list[Part] = []
    position = 0
    for match in pattern.finditer(template):
        parts += [template[position : match.start()]] * (match.start() > position)
        parts.append(Placeholder(match[1]) if match[1] else Control(match[0]))
        position = match.end()
    return (*parts, template[position:]) if position < len(template) else tuple(parts)


def is_control(text: str) -> bool:
    """Return whether a stop or a token of a format is a control token, and not plain text."""
    return re.fullmatch(r"\u2581?(?:<\S+>|\[\S+\])", text) is not None


@dataclass(frozen=True, slots=True)
class FillChoice:
    """How a model is asked for a middle, and why."""

    format: FillFormat
    order: Order | None = None
    """None asks left to right."""
    scores: dict[str, float] = field(default_factory=dict)
    """What the probe measured: the mean log-probability of known middles by order, and left to right."""
    reason: str = ""
    """A sentence about why this order, for people."""

    @property
    def name(self) -> str:
        """The order by the name that users read."""
        return self.order or LEFT_TO_RIGHT


@dataclass(frozen=True, slots=True)
class FileText:
    """The text of another file, or a part of it, that goes into a prompt."""

    path: str
    """As the model reads it: relative to the project, with slashes."""
    text: str
