"""Filter candidates: one short function for each thing that goes wrong with continuations. Pure.

Each filter keeps a candidate, replaces it or drops it, and describes in a sentence what it did, for the user to
read. The order matters: first the filters of the continuation's length, then those of its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.lexer import frames_at_end
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.fitting import indentation, overlap, repeats, stop_rules
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest.values import Candidate, Verdict

_QUOTES = ('"', "'")
_TRIPLES = ('"""', "'''")


@dataclass(frozen=True, slots=True)
class FilterResult:
    """One filter's decision about a candidate: made by `replaced` or `dropped`, or `KEEP`."""

    text: str | None = None
    """The candidate's new text; None where it stays."""
    covers: int | None = None
    """How many characters after the cursor it now takes the place of; None where that stays."""
    is_cut: bool = False
    """Whether the new text ends where the candidate was cut, so that it counts as finished."""
    reason: Reason | None = None
    """Why the candidate is dropped; None where it isn't."""
    note: str = ""
    """The sentence for the user; empty if the candidate stays."""


KEEP = FilterResult()
"""The candidate stays as it is."""


def replaced(text: str, note: str, *, covers: int | None = None, is_cut: bool = False) -> FilterResult:
    """Return the result that gives a candidate another text."""
    return FilterResult(text=text, covers=covers, is_cut=is_cut, note=note)


def dropped(reason: Reason, note: str) -> FilterResult:
    """Return the result that drops a candidate."""
    return FilterResult(reason=reason, note=note)


def run(candidate: Candidate, site: Site, prompt: Prompt) -> Verdict:
    """Return the candidate after all filters, with the trail of what they did. Never raises."""
    trail: list[str] = []
    raw = candidate.raw or candidate.text
    candidate = replace(candidate, raw=raw, text=lines.normalize(candidate.text))
    for name, step in FILTERS.items():
        result = step(candidate, site, prompt)
        if result.note:
            trail.append(f"{name}: {result.note}")
        if result.reason is not None:
            return Verdict(candidate, result.reason, tuple(trail))
        candidate = _applied(result, candidate)
    return Verdict(candidate, None, tuple(trail))


def is_complete(text: str, site: Site, prompt: Prompt) -> bool:
    """Return whether more text could no longer change what `run` keeps, so that a stream may be closed."""
    text = lines.normalize(text)
    if stop_rules.end(text, site, prompt.shape, body=prompt.body) is not None:
        return True
    whole_lines = text[: text.rfind("\n") + 1].rstrip("\n")
    return prompt.shape == "block" and repeats.loop_of_lines(whole_lines) is not None


def _applied(result: FilterResult, candidate: Candidate) -> Candidate:
    if result.text is None:
        return candidate
    return replace(
        candidate,
        text=result.text,
        replace=candidate.replace if result.covers is None else result.covers,
        finish="stop" if result.is_cut else candidate.finish,
        mean_logprob=_mean(candidate, result.text) if result.is_cut else candidate.mean_logprob,
    )


def _mean(candidate: Candidate, text: str) -> float | None:
    """Return the mean log-probability of the tokens that spell a candidate's text up to where it was cut.

    The mean of all its tokens if it is unknown which these are.
    """
    end = len(text) if candidate.raw.startswith(text) else None
    if end is None or not candidate.tokens or len(candidate.tokens) != len(candidate.token_logprobs):
        return candidate.mean_logprob
    position = len(candidate.raw) - sum(len(t) for t in candidate.tokens)  # healed characters come first
    logprobs: list[float] = []
    for token, logprob in zip(candidate.tokens, candidate.token_logprobs, strict=True):
        if position >= end and logprobs:
            break
        logprobs.append(logprob)
        position += len(token)
    return sum(logprobs) / len(logprobs)


def _extent(candidate: Candidate, site: Site, prompt: Prompt) -> FilterResult:
    end = stop_rules.end(candidate.text, site, prompt.shape, body=prompt.body)
    end = len(candidate.text) if end is None else end
    is_line = prompt.shape == "line"
    text = candidate.text[:end].lstrip("\n") if is_line else candidate.text[:end]
    remainder = candidate.text[end:].strip()
    if not remainder:
        return KEEP if text == candidate.text else replaced(text, "took back line breaks")
    count = remainder.count("\n") + 1
    shape = "line" if is_line else "block"
    note = f"ended with the {shape}, {count} line{'s' if count > 1 else ''} left out"
    return replaced(text, note, is_cut=True)


def _repetition(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    second = repeats.loop(candidate.text)
    if second is None:
        return KEEP
    text = stop_rules.complete_part(candidate.text[:second], site)
    is_open = any(frame.text in ("(", "[") for frame in frames_at_end(text, site.cursor.language))
    if "\n" not in text.strip() or is_open:
        return dropped(Reason.REPETITION, f"it goes round in circles from {_quote(text[-40:])}")
    return replaced(text, "cut where it starts to go round in circles", is_cut=True)


def _incomplete(candidate: Candidate, site: Site, prompt: Prompt) -> FilterResult:
    if candidate.finish != "length" or prompt.shape == "line":
        return KEEP
    text = candidate.text.rpartition("\n")[0] if candidate.text.strip().count("\n") else ""
    text = stop_rules.complete_part(text, site) if text.strip() else ""
    if not text.strip():
        return KEEP
    return replaced(text, f"left out the unfinished {_quote(candidate.text[len(text) :].strip())}")


def _trailing(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    *above, last = candidate.text.split("\n")
    if not site.after[:1].isidentifier():  # else the space keeps two words apart
        last = last.rstrip()
    text = "\n".join([*(line.rstrip() for line in above), last])
    text = text if last else text.rstrip()
    return KEEP if text == candidate.text else replaced(text, "took back trailing whitespace")


def _space(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    if not (site.before.strip() and site.before[-1] in " \t" and candidate.text[:1] in (" ", "\t")):
        return KEEP
    is_column = candidate.text[1:2] in (" ", "\t") or site.before[-2:-1] in (" ", "\t")
    is_column = is_column or _is_column(candidate.text, site)
    if site.open_string or is_column or site.language.is_comment(candidate.text):
        return KEEP  # columns: `name    = 1`, `x  # one`
    return replaced(candidate.text.lstrip(" \t"), "took back the space that is there already")


def _is_column(text: str, site: Site) -> bool:
    """Return whether a text starts where the nearest line above or below has the same word after a space."""
    start = len(site.before) + 1
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    near = (site.previous_line, site.next_line)
    return bool(word) and any(line.startswith(word, start) and line[start - 1] == " " for line in near)


def _indentation(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    is_text = site.open_string in _TRIPLES or (site.open_string and site.is_blank)
    if not candidate.text.strip() or is_text:
        return KEEP
    text = indentation.fit(candidate.text, site)
    if text == candidate.text:
        return KEEP
    kind = "tabs" if "\t" in site.cursor.indent else f"{len(site.cursor.indent)} spaces"
    return replaced(text, f"indented as the file is, by {kind}")


def _misplaced(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    if site.open_string:
        return KEEP
    end = stop_rules.misplaced(candidate.text, site)
    if end is None or not candidate.text[: max(end, 0)].strip():
        return KEEP
    note = "cut before a line whose indentation nothing above it explains"
    return replaced(candidate.text[:end], note, is_cut=True)


def _unopened(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    end = stop_rules.unopened(candidate.text, site)
    if end is None:
        return KEEP
    closer, text = candidate.text[end], candidate.text[:end].rstrip()
    if not text.strip():
        return dropped(Reason.EMPTY, f"it starts with a {_quote(closer)} that closes nothing")
    return replaced(text, f"cut before a {_quote(closer)} that closes nothing", is_cut=True)


def _repeats_below(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    end = repeats.of_lines_below(candidate.text, site)
    if end is None:
        return KEEP
    if not candidate.text[:end].strip():
        return dropped(Reason.REPEATS_SUFFIX, "it repeats the lines below the cursor")
    return replaced(candidate.text[:end].rstrip(), "cut where it repeats the lines below")


def _overlap(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    text, covered = overlap.fit(candidate.text, site)
    if not covered and text == candidate.text:
        return KEEP
    if covered:
        note = f"takes the place of {_quote(site.after[:covered])} after the cursor"
        return replaced(text, note, covers=covered)
    if not text.strip():
        note = f"all of it, {_quote(candidate.text)}, is after the cursor already"
        return dropped(Reason.REPEATS_SUFFIX, note)
    repeated = candidate.text[len(text) :]
    return replaced(text, f"took back {_quote(repeated)}, which is after the cursor already")


def _open_string(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    if site.cursor.language != "python" or candidate.finish == "length" or site.open_string in _TRIPLES:
        return KEEP
    _first, newline, last = candidate.text.rpartition("\n")
    line = last if newline else site.before + candidate.text
    line += site.after[candidate.replace :]
    if any(quote in line for quote in _TRIPLES):
        return KEEP
    read_on = frames_at_end(candidate.text + site.after[candidate.replace :], "python", site.frames)
    if _ends_in_string(site.before + site.after) or not _ends_in_string(line):
        return KEEP
    if newline and not any(frame.text in _QUOTES for frame in read_on):
        return KEEP  # a string that goes on past `\\` at a line's end
    return dropped(Reason.OPEN_STRING, "its line would end within a string")


def _ends_in_string(line: str) -> bool:
    """Return whether a Python line ends within a string of one line."""
    return any(frame.text in _QUOTES for frame in frames_at_end(line[-lines.LONG_LINE :], "python"))


def _repeats_above(candidate: Candidate, site: Site, _: Prompt) -> FilterResult:
    if repeats.lines_above(candidate.text, site):
        return dropped(Reason.REPEATS_PREFIX, "it repeats the lines above the cursor")
    return KEEP


def _empty(candidate: Candidate, _: Site, prompt: Prompt) -> FilterResult:
    if candidate.text.strip() in ("", prompt.start.strip()):
        return dropped(Reason.EMPTY, "there is nothing in it")
    return KEEP


def _quote(text: str) -> str:
    return f"“{text if len(text) <= 60 else text[:59] + '…'}”".replace("\n", "⏎")


FILTERS: dict[str, Callable[[Candidate, Site, Prompt], FilterResult]] = {
    "extent": _extent,
    "repetition": _repetition,
    "incomplete": _incomplete,
    "trailing": _trailing,
    "space": _space,
    "empty": _empty,
    "indentation": _indentation,
    "misplaced": _misplaced,
    "unopened": _unopened,
    "repeats-below": _repeats_below,
    "overlap": _overlap,
    "open-string": _open_string,
    "repeats-above": _repeats_above,
}
"""The filters by name, in the order in which they run."""
