"""Candidate -> Candidate or a reason; one short function each. Pure.

Each filter looks at one thing that goes wrong with continuations, and says in a sentence what it did, for the
person who asks why. Their order matters: first how far the continuation goes, then what is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.fitting import indentation, overlap, repeats, stop_rules
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest.values import Candidate, Verdict

FilterResult = tuple[Candidate | Reason, str] | None
"""None: nothing to do. Else the candidate as changed, or the reason to drop it; and the sentence."""


_QUOTES = ('"', "'")
_TRIPLES = ('"""', "'''")


@dataclass(frozen=True, slots=True)
class Site:
    """What a filter may look at besides the candidate."""

    cursor: Cursor
    prompt: Prompt


def run(candidate: Candidate, cursor: Cursor, prompt: Prompt) -> Verdict:
    """The candidate after all filters, with the trail of what they did. Never raises."""
    trail: list[str] = []
    site = Site(cursor, prompt)
    raw = candidate.raw or candidate.text
    candidate = replace(candidate, raw=raw, text=lines.normalize(candidate.text))
    for name, step in FILTERS.items():
        outcome = step(candidate, site)
        if outcome is None:
            continue
        result, sentence = outcome
        trail.append(f"{name}: {sentence}")
        if isinstance(result, Reason):
            return Verdict(candidate, result, tuple(trail))
        candidate = result
    return Verdict(candidate, None, tuple(trail))


def is_complete(text: str, cursor: Cursor, prompt: Prompt) -> bool:
    """Whether more text could no longer change what `run` keeps, so that a stream may be left."""
    text = lines.normalize(text)
    if stop_rules.end(text, cursor, prompt.shape, body=prompt.body) is not None:
        return True
    return (
        prompt.shape == "block"
        and repeats.loop_of_lines(text[: text.rfind("\n") + 1].rstrip("\n")) is not None
    )


def _extent(candidate: Candidate, site: Site) -> FilterResult:
    end = stop_rules.end(candidate.text, site.cursor, site.prompt.shape, body=site.prompt.body)
    end = len(candidate.text) if end is None else end
    line = site.prompt.shape == "line"
    text = candidate.text[:end].lstrip("\n") if line else candidate.text[:end]
    left = candidate.text[end:].strip()
    if not left:
        return None if text == candidate.text else (replace(candidate, text=text), "took back line breaks")
    kept = replace(candidate, text=text, finish="stop", mean_logprob=_mean(candidate, end))
    count = left.count("\n") + 1
    where = "line" if line else "block"
    return kept, f"ended with the {where}, {count} line{'s' if count > 1 else ''} left out"


def _mean(candidate: Candidate, end: int) -> float | None:
    """The mean log-probability of the tokens that spell the text up to an end; of all where that isn't known."""
    if not candidate.tokens or len(candidate.tokens) != len(candidate.token_logprobs):
        return candidate.mean_logprob
    position = len(candidate.raw) - sum(len(t) for t in candidate.tokens)  # healed characters come before it
    kept: list[float] = []
    for token, logprob in zip(candidate.tokens, candidate.token_logprobs, strict=True):
        if position >= end and kept:
            break
        kept.append(logprob)
        position += len(token)
    return sum(kept) / len(kept)


def _repetition(candidate: Candidate, site: Site) -> FilterResult:
    at = repeats.loop(candidate.text)
    if at is None:
        return None
    kept = stop_rules.complete_part(candidate.text[:at], site.cursor.language)
    if "\n" not in kept.strip() or stop_rules.open_brackets(kept, site.cursor.language, "(["):
        return Reason.REPETITION, f"it goes round in circles from {_quote(kept[-40:])}"
    return replace(candidate, text=kept, finish="stop"), "cut where it starts to go round in circles"


def _incomplete(candidate: Candidate, site: Site) -> FilterResult:
    if candidate.finish != "length" or site.prompt.shape == "line":
        return None
    kept = candidate.text.rpartition("\n")[0] if candidate.text.strip().count("\n") else ""
    kept = stop_rules.complete_part(kept, site.cursor.language) if kept.strip() else ""
    if not kept.strip():
        return None
    return replace(
        candidate, text=kept
    ), f"left out the unfinished {_quote(candidate.text[len(kept) :].strip())}"


def _trailing(candidate: Candidate, site: Site) -> FilterResult:
    *above, last = candidate.text.split("\n")
    if not site.cursor.line_suffix[:1].isidentifier():  # else the space keeps two words apart
        last = last.rstrip()
    text = "\n".join([*(line.rstrip() for line in above), last])
    text = text if last else text.rstrip()
    return (
        (replace(candidate, text=text), "took back trailing whitespace") if text != candidate.text else None
    )


def _space(candidate: Candidate, site: Site) -> FilterResult:
    before = site.cursor.line_prefix
    if not (before.strip() and before[-1] in " \t" and candidate.text[:1] in (" ", "\t")):
        return None
    if lines.open_string(site.cursor):
        return None
    return replace(candidate, text=candidate.text.lstrip(" \t")), "took back the space that is there already"


def _indentation(candidate: Candidate, site: Site) -> FilterResult:
    if not candidate.text.strip() or lines.open_string(site.cursor) in ('"""', "'''"):
        return None
    text = indentation.fit(candidate.text, site.cursor)
    if text == candidate.text:
        return None
    kind = "tabs" if "\t" in site.cursor.indent else f"{len(site.cursor.indent)} spaces"
    return replace(candidate, text=text), f"indented as the file is, by {kind}"


def _misplaced(candidate: Candidate, site: Site) -> FilterResult:
    if lines.open_string(site.cursor):
        return None
    at = stop_rules.misplaced(candidate.text, site.cursor)
    if at is None or not candidate.text[: max(at, 0)].strip():
        return None
    kept = replace(candidate, text=candidate.text[:at], finish="stop")
    return kept, "cut before a line whose indentation nothing above it explains"


def _unopened(candidate: Candidate, site: Site) -> FilterResult:
    at = stop_rules.unopened(candidate.text, site.cursor)
    if at is None:
        return None
    closer, kept = candidate.text[at], candidate.text[:at].rstrip()
    if not kept.strip():
        return Reason.EMPTY, f"it starts with a {_quote(closer)} that closes nothing"
    return replace(candidate, text=kept, finish="stop"), f"cut before a {_quote(closer)} that closes nothing"


def _repeats_below(candidate: Candidate, site: Site) -> FilterResult:
    at = repeats.of_lines_below(candidate.text, site.cursor)
    if at is None:
        return None
    if not candidate.text[:at].strip():
        return Reason.REPEATS_SUFFIX, "it repeats the lines below the cursor"
    return replace(candidate, text=candidate.text[:at].rstrip()), "cut where it repeats the lines below"


def _overlap(candidate: Candidate, site: Site) -> FilterResult:
    text, covered = overlap.fit(candidate.text, site.cursor)
    if not covered and text == candidate.text:
        return None
    if covered:
        sentence = f"takes the place of {_quote(site.cursor.line_suffix[:covered])} after the cursor"
        return replace(candidate, text=text, replace=covered), sentence
    if not text.strip():
        return Reason.REPEATS_SUFFIX, f"all of it, {_quote(candidate.text)}, is after the cursor already"
    taken = candidate.text[len(text) :]
    return replace(candidate, text=text), f"took back {_quote(taken)}, which is after the cursor already"


def _open_string(candidate: Candidate, site: Site) -> FilterResult:
    cursor = site.cursor
    line = (
        candidate.text.rpartition("\n")[2] if "\n" in candidate.text else cursor.line_prefix + candidate.text
    )
    line += cursor.line_suffix[candidate.replace :]
    if cursor.language != "python" or candidate.finish == "length" or any(q in line for q in _TRIPLES):
        return None
    ended = lines.scan(cursor.line_prefix + cursor.line_suffix, cursor.language) not in _QUOTES
    if not ended or lines.open_string(cursor) in _TRIPLES or lines.scan(line, cursor.language) not in _QUOTES:
        return None
    return Reason.OPEN_STRING, "its line would end within a string"


def _repeats_above(candidate: Candidate, site: Site) -> FilterResult:
    if repeats.lines_above(candidate.text, site.cursor):
        return Reason.REPEATS_PREFIX, "it repeats the lines above the cursor"
    return None


def _empty(candidate: Candidate, site: Site) -> FilterResult:
    if candidate.text.strip() == site.prompt.start.strip():
        return Reason.EMPTY, "there is nothing in it"
    return None


def _quote(text: str) -> str:
    return f"“{text if len(text) <= 60 else text[:59] + '…'}”".replace("\n", "⏎")


FILTERS: dict[str, Callable[[Candidate, Site], FilterResult]] = {
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
