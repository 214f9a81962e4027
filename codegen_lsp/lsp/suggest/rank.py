"""Score candidates, drop near-duplicates and sort. Pure.

score = mean log-probability + tokens + suffix gain + parse + fit + body + length, each times its weight:

- **mean log-probability** of the candidate's tokens. The mean ranks samples, the sum does not (Chen et al.,
  arXiv 2107.03374, section 3.3).
- **tokens**: the mean alone favours long lines, whose later tokens follow from the earlier ones, however unlikely
  those are. Lines are compared by a value between mean and sum.
  Of 403 lines to fill in (single-line infilling, nano), 16 were right by the mean and 29 by this.
- **suffix gain**: how much likelier than after the other candidates the text after the cursor becomes
  (Fried et al., InCoder, arXiv 2204.05999, section 4: left-to-right with reranking).
- **parse**: whether the code around the cursor has fewer or more syntax errors with it.
- **fit**: whether a line uses names that nothing binds or imports that nothing else uses, ends a function that has no
  other end, or makes the code around it pointless (`line_checks.py`).
- **body**: whether several lines use a function's parameters, return what it promises and end where a block does
  (`body_checks.py`). Of 164 functions to write (HumanEval, smollm2-135m, ten rows) one of the rows passes the tests for
  13: the first one for 9, without this for 7.
- **length**: between equals, the one that says more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from codegen_lsp.lsp.code import lines
from codegen_lsp.lsp.code.site import Site
from codegen_lsp.lsp.code.syntax import error_count, supported
from codegen_lsp.lsp.fitting import body_checks, line_checks
from codegen_lsp.lsp.prompts.prompt import Prompt
from codegen_lsp.lsp.reasons import Reason
from codegen_lsp.lsp.suggest.values import Candidate, Ranked, Verdict

_SCORED_LINES = 3
_SCORED_CHARACTERS = 60
"""Maximum number of characters of the text after the cursor that are scored."""
_SAYS_ENOUGH = 24
"""Number of characters, without white space, after which no further line is scored.

More of that text says hardly more about the line before it, and reading it is what scoring costs. Of 1,033 lines to
fill in (single-line infilling, nano), 146 were right of three rows without scores, 157 with 30 characters of one line
scored, and 159 with up to 240 of three lines; of ten rows 187, 213 and 213.
"""
_AROUND = 2048
"""Characters before the cursor, and half as many after it, that are parsed."""
_TOP_LEVEL = re.compile(r"^[^\s)}\]]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each part of a score."""

    mean_logprob: float = 1.0
    """Of the candidate's mean log-probability, in nats a token."""
    tokens: float = 0.75
    """From 0, which compares lines by their mean log-probability, to 1, which compares them by the sum."""
    suffix_gain: float = 5.0
    """Of the gain in the suffix's mean log-probability, in nats a token, which is small: most of its tokens follow from
    the suffix itself."""
    parse: float = 0.5
    """A syntax error that the candidate mends or, negative, makes; two at most count."""
    unknown: float = 1.5
    """A name that it uses and nothing binds; two at most count."""
    last: float = 2.0
    """Returning a value at the end of a function."""
    first_use: float = 0.5
    """Using something that is imported and that nothing else uses."""
    unused: float = 0.2
    """A parameter that a function's body leaves out; two at most count."""
    no_value: float = 0.5
    """Returning nothing from a function that should."""
    ends_open: float = 0.5
    """Ending with the head of a block, if others are whole blocks."""
    pointless: float = 1.0
    """Making the code around it pointless."""
    length: float = 0.02
    """Of the logarithm of its length in characters."""


DEFAULT_WEIGHTS = Weights()


def scoring_prompt(site: Site, prompt: Prompt, candidate: Candidate) -> tuple[str, str] | None:
    """Return (text up to and with the candidate, text after the cursor to score), or None if nothing follows.

    The text to score is the rest of the cursor's line and, while that says little, the next lines that aren't blank, as
    an editor shows them below. The two texts are joined without a separator.
    """
    following = lines.normalize(
        site.cursor.suffix[candidate.replace : candidate.replace + 16 * _SCORED_CHARACTERS]
    )
    lines_below: list[str] = []
    filled = said = 0
    for line in following.split("\n"):
        lines_below.append(line)
        filled += bool(line.strip())
        said += len("".join(line.split()))
        if filled == _SCORED_LINES or said >= _SAYS_ENOUGH:
            break
    suffix = "\n".join(lines_below)[:_SCORED_CHARACTERS].rstrip()
    text = candidate.text
    if site.shows_spaces:
        text, suffix = lines.with_spaces(text), lines.with_spaces(suffix)
    return (prompt.text + text, suffix) if suffix.strip() else None


def contenders(verdicts: Sequence[Verdict], threshold: float | None) -> list[int]:
    """Return the numbers of the candidates that `rank` will show unless they are duplicates."""
    return [i for i, v in enumerate(verdicts) if v.reason is None and not _below(v.candidate, threshold)]


def close(
    verdicts: Sequence[Verdict],
    site: Site,
    threshold: float | None,
    within: float,
    weights: Weights = DEFAULT_WEIGHTS,
) -> list[int]:
    """Return the numbers of the contenders whose scores come close to the best: within some nats of it.

    Whatever the text after the cursor says of the others, it hardly ever makes one of them the best. Of 1,033 lines to
    fill in (single-line infilling, nano, five rows), 193 were right with the contenders within 1 nat scored by that
    text, 194 within 1.5 nats and with all: 1.8, 2.5 and 4.0 of five rows.
    """
    indexes, scored = _scored_contenders(verdicts, site, threshold, weights)
    least = max((ranked.score for ranked in scored), default=0.0) - within
    return [i for i, ranked in zip(indexes, scored, strict=True) if ranked.score >= least]


def _below(candidate: Candidate, threshold: float | None) -> bool:
    return threshold is not None and (candidate.mean_logprob or 0.0) < threshold


def rank(
    verdicts: Sequence[Verdict],
    site: Site,
    threshold: float | None = None,
    weights: Weights = DEFAULT_WEIGHTS,
) -> tuple[tuple[Ranked, ...], tuple[Verdict, ...]]:
    """Return (the candidates to show, best first; all verdicts in their order, duplicates and low confidence marked).

    `threshold` is the minimum mean log-probability that is shown; None shows all, and so does a server that
    gives no log-probabilities. Of equal scores the earlier candidate comes first.
    """
    out = list(verdicts)
    indexes, scored = _scored_contenders(verdicts, site, threshold, weights)
    order = sorted(zip(indexes, scored, strict=True), key=lambda pair: -pair[1].score)
    shown: list[Ranked] = []
    for index, ranked in order:
        if _has_twin(ranked.candidate, shown):
            out[index] = _duplicate(out[index])
        else:
            shown.append(ranked)
    for index, verdict in enumerate(verdicts):
        candidate = verdict.candidate
        if verdict.reason is not None or not _below(candidate, threshold):
            continue
        if _has_twin(candidate, shown):
            out[index] = _duplicate(verdict)
        else:
            least = f"below {threshold:.2f}"
            sentence = f"confidence: mean log-probability {candidate.mean_logprob:.2f}, {least}"
            out[index] = _dropped(verdict, Reason.LOW_CONFIDENCE, sentence)
    return tuple(shown), tuple(out)


def _has_twin(candidate: Candidate, shown: Sequence[Ranked]) -> bool:
    return any(_same(better.candidate, candidate) for better in shown)


def _duplicate(verdict: Verdict) -> Verdict:
    return _dropped(verdict, Reason.DUPLICATE, "duplicate: as good as the same as a better one")


def _scored_contenders(
    verdicts: Sequence[Verdict], site: Site, threshold: float | None, weights: Weights
) -> tuple[list[int], list[Ranked]]:
    """Return the numbers of the contenders, and their scores; a score takes longer than a step of a small model."""
    indexes = contenders(verdicts, threshold)
    is_line = not any("\n" in v.candidate.text for v in verdicts if v.reason is None)
    return indexes, _score([verdicts[i].candidate for i in indexes], site, weights, is_line=is_line)


def _score(candidates: Sequence[Candidate], site: Site, weights: Weights, *, is_line: bool) -> list[Ranked]:
    """Score candidates; `is_line` says whether all that were kept are single lines."""
    if not candidates:
        return []
    measured = [c.suffix_logprob for c in candidates if c.suffix_logprob is not None]
    average = sum(measured) / len(measured) if measured else 0.0
    checks = _checks(site)
    findings = [checks.of(c.text, c.replace) for c in candidates]
    bodies = [checks.body(c.text) if not is_line else None for c in candidates]
    power = weights.tokens if is_line else 0.0
    out = []
    for candidate, (change, issues), body_issues in zip(candidates, findings, bodies, strict=True):
        gain = 0.0 if candidate.suffix_logprob is None else candidate.suffix_logprob - average
        mean = weights.mean_logprob * _finite(candidate.mean_logprob)
        parts = (
            ("mean_logprob", mean),
            ("tokens", mean * (_count(candidate) ** power - 1)),
            ("suffix_gain", weights.suffix_gain * _finite(gain)),
            ("parse", weights.parse * max(-2, min(2, -change))),
            ("fit", _fit(issues, weights)),
            ("body", _body(body_issues, weights) if body_issues is not None else 0.0),
            ("length", weights.length * math.log1p(len(candidate.text.strip()))),
        )
        out.append(Ranked(candidate, sum(value for _, value in parts), parts))
    return out


def _fit(issues: line_checks.LineIssues, weights: Weights) -> float:
    bad = weights.unknown * min(2, issues.unknown) + weights.pointless * issues.pointless
    return weights.last * issues.last + weights.first_use * issues.first_use - bad


def _body(issues: body_checks.BodyIssues, weights: Weights) -> float:
    missing = weights.no_value * issues.no_value + weights.ends_open * issues.ends_open
    return -weights.unused * min(2, issues.unused) - missing


def _count(candidate: Candidate) -> int:
    """Return the tokens that spell a candidate's text; 1 where they aren't known."""
    end = candidate.raw.find(candidate.text) + len(candidate.text)
    position = len(candidate.raw) - sum(
        map(len, candidate.tokens)
    )  # the text of healing or of a hint comes first
    count = 0
    for token in candidate.tokens:
        if position >= end and count:
            break
        count += 1
        position += len(token)
    return max(count, 1)


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0 if value is None else -100.0


def look(verdict: Verdict, site: Site) -> None:
    """Compute what ranking needs to know about a candidate in advance, while the model is still writing others."""
    if verdict.reason is None:
        _checks(site).of(verdict.candidate.text, verdict.candidate.replace)


@lru_cache(maxsize=2)
def _checks(site: Site) -> _Checks:
    return _Checks(site)


class _Checks:
    """The findings about candidates at one site.

    They are remembered from the choice of what the text after the cursor scores to the ranking by that.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._check = line_checks.checker_for(site)
        self._found: dict[tuple[str, int], tuple[int, line_checks.LineIssues]] = {}
        self._bodies: dict[str, body_checks.BodyIssues] = {}

    def of(self, text: str, replaced: int) -> tuple[int, line_checks.LineIssues]:
        """Return how many syntax errors a candidate adds to the code around the cursor, and what its line lacks."""
        key = text, replaced
        if key not in self._found:
            self._found[key] = self._added_errors(text, replaced), self._check(text)
        return self._found[key]

    def body(self, text: str) -> body_checks.BodyIssues:
        """Return the findings about a candidate as a body."""
        if text not in self._bodies:
            self._bodies[text] = self._check_body(text)
        return self._bodies[text]

    @cached_property
    def _check_body(self) -> body_checks.BodyChecker:
        return body_checks.checker_for(self._site)

    def _added_errors(self, text: str, replaced: int) -> int:
        language = self._site.cursor.language
        if not supported(language):
            return 0
        before, after = self._around
        code = lines.normalize(before + text + after[replaced:])
        return error_count(language, code) - self._errors

    @cached_property
    def _errors(self) -> int:
        """The number of syntax errors without a candidate."""
        return error_count(self._site.cursor.language, lines.normalize("".join(self._around)))

    @cached_property
    def _around(self) -> tuple[str, str]:
        """The code before and after the cursor that is parsed."""
        cursor = self._site.cursor
        before = cursor.prefix[-_AROUND:]
        if len(cursor.prefix) > _AROUND:
            match = _TOP_LEVEL.search(before, 1)
            before = before[match.start() if match else before.find("\n") + 1 :]
        after = cursor.suffix[: _AROUND // 2]
        if len(cursor.suffix) > len(after):
            after = after[: max(after.rfind("\n"), 0)]
        return before, after


def _same(shown: Candidate, candidate: Candidate) -> bool:
    """Return whether two are near-duplicates: equal but for white space and quotes, or one starts the other.

    One that starts the other on the same line stays apart where it ends in the middle of a word.
    """
    a, b = _canonical(shown.text), _canonical(candidate.text)
    if a == b:
        return True
    short, long = sorted((a, b), key=len)
    return "\n" in shown.text + candidate.text and long.startswith(short) and not _splits(short, long)


def _canonical(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip()).replace("'", '"')


def _splits(short: str, long: str) -> bool:
    return re.match(r"\w\w", short[-1:] + long[len(short) : len(short) + 1]) is not None


def _dropped(verdict: Verdict, reason: Reason, sentence: str) -> Verdict:
    return replace(verdict, reason=reason, trail=(*verdict.trail, sentence))
