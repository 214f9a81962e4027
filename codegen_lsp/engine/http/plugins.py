"""Requests of plugins that write a middle's control tokens into the prompt, as llm.nvim and others on llm-ls do.

Such a prompt is taken apart into the texts before and after the cursor; both stay text. This is done for llm-ls alone,
which names itself: the texts of all other clients are never looked into, whatever they hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.fill.families import FAMILIES
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import CompletionRequest

LLM_LS = "llm-ls/"
"""What the `User-Agent` of llm-ls starts with."""


def parser_for(agent: str) -> Callable[[object], CompletionRequest]:
    """Return what parses the body of a completions request from a client with this `User-Agent`."""
    return _parse_llm_ls if agent.startswith(LLM_LS) else parse_request


def _parse_llm_ls(body: object) -> CompletionRequest:
    """Return the request in a body of llm-ls, with `suffix` if its prompt is one for a middle.

    Raises:
        RequestError: a field is wrong, or the text itself holds what separates its parts.
    """
    if isinstance(body, dict) and isinstance(body.get("prompt"), str) and not body.get("suffix"):
        prefix, suffix = _parts(body["prompt"])
        body = body | {"prompt": prefix, "suffix": suffix}
    return parse_request(body)


def _parts(prompt: str) -> tuple[str, str]:
    """Return the texts before and after the cursor.

    `<fim_prefix>a = <fim_suffix>; b<fim_middle>` gives `a = ` and `; b`; any other text is all before the cursor.
    """
    for head, separator, tail in _MARKS:
        if not (prompt.startswith(head) and prompt.endswith(tail) and len(prompt) >= len(head) + len(tail)):
            continue
        before, *after = prompt[len(head) : len(prompt) - len(tail)].split(separator)
        if len(after) > 1:
            raise RequestError(
                f"the text holds {separator.strip()!r}, which separates what is before and after the cursor: "
                "complete it with fim = { enabled = false }",
                param="prompt",
            )
        if after:
            return before, after[0]
    return prompt, ""


def _marks() -> Iterator[tuple[str, str, str]]:
    """Yield what is before the prefix, between prefix and suffix, and after the suffix, as the families have it."""
    for family in FAMILIES:
        template = re.sub("\u2581(?=<)", " ", re.sub(r"\{files\}|\{current\}", "", family.psm)).lstrip()
        head, _, remainder = template.partition("{prefix}")
        separator, _, tail = remainder.partition("{suffix}")
        if head and separator and tail:
            yield head, separator, tail


_MARKS = tuple(dict.fromkeys(_marks()))
