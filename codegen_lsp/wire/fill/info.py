"""What an engine says about how its model fills in the middle."""

from __future__ import annotations

from codegen_lsp.wire.answers import FillInfo
from codegen_lsp.wire.fill.formats import Control, FillChoice, FillFormat

TEXT_TOKENS = 8
"""Maximum number of tokens of the fixed text in a template, such as a project's name or line ends."""


def fill_info(choice: FillChoice) -> FillInfo:
    """Return what clients need to know of a choice: the order, and what a prompt takes besides its texts."""
    fill_format = choice.format
    templates = [fill_format.template(choice.order)] if choice.order is not None else []
    separates = bool(fill_format.file)
    return FillInfo(
        family=fill_format.family,
        order=choice.name,
        tokens=_size(
            fill_format, *templates, *((fill_format.project, fill_format.current) if separates else ())
        ),
        separates_files=separates,
        file_tokens=_size(fill_format, fill_format.file) if separates else TEXT_TOKENS,
        suffix_ranking=fill_format.suffix_ranking,
        scores=choice.scores,
        reason=choice.reason,
    )


def _size(fill_format: FillFormat, *templates: str) -> int:
    """Return the number of tokens of templates without what is put in, rather too high."""
    controls = sum(
        isinstance(part, Control) for template in templates for part in fill_format.parts(template)
    )
    return controls + TEXT_TOKENS * sum(
        any(isinstance(p, str) for p in fill_format.parts(t)) for t in templates
    )
