"""One row of a request: the tokens that were chosen for it, and the text they add up to.

Knows how a row chooses tokens (greedy, sampled, healing, among words, branching), where it ends, and which part of its
text can be shown already. Knows no model: it receives logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from codegen_lsp.engine.decode import sampling
from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.decode.rows.branching import Branch
from codegen_lsp.engine.decode.rows.words import certain_after, rests_after
from codegen_lsp.engine.decode.sampling import TokenDistribution
from codegen_lsp.engine.decode.stop_strings import Stops, Utf8
from codegen_lsp.engine.model.vocabulary import Spelling, Vocabulary
from codegen_lsp.wire.answers import Choice, FinishReason, Logprobs
from codegen_lsp.wire.requests import CompletionRequest


class Row:
    """A completion that is being decoded.

    While healing, `pending` is the text that is still to be spelled again. Tokens that only spell it are forced: they
    appear in no count, no text and no log-probabilities. The token that goes beyond it counts with the new part of its
    text, and with its probability among the tokens that spell `pending`. For example, with `pending` " pri" the row
    takes the token " print": its text is "nt".

    While the row has to begin with one of some words, these come after `pending`. Tokens that spell a part of a word
    count, with the probabilities that the model gives them: what it says of the words can be compared. The row is free
    once the word has ended, or if no token can spell any of the words.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        request: CompletionRequest,
        prompt: PreparedPrompt,
        first_index: int,
        rank: int,
    ) -> None:
        """Start the row `rank` of a prompt; with `branch` the rows share out the likely continuations.

        `first_index` is the index in the answer of the prompt's first choice.
        """
        self.vocabulary = vocabulary
        self.request = request
        self.index = first_index + rank
        self.start = len(prompt.text)
        self.pending = prompt.pending
        self._rests = prompt.words
        """What remains of the words that the row may begin with; empty while it is free."""
        self._branch = Branch(rank, request.n) if request.branch else Branch(0, 1)
        self._line = prompt.text.rpartition("\n")[2]
        self.count = 0
        """Number of tokens decoded, not counting forced ones."""
        self.finish_reason: FinishReason | None = None
        self._generator = _generator(request, rank)
        self._utf8 = Utf8()
        self._ends = vocabulary.ends | prompt.ends
        self._stops = Stops((*request.stop, *prompt.stops))
        self._entries: list[tuple[int, str, float, dict[str, float] | None]] = []
        self._sent = 0
        self._sent_entries = 0
        self._sent_reason = False
        self._prefix = ""
        self._prefix_logprobs: Logprobs | None = None

    def echo(self, text: str, logprobs: Logprobs | None) -> None:
        """Put the echoed part of the prompt before the row's text."""
        self._prefix, self._prefix_logprobs = text, logprobs

    @property
    def finished(self) -> bool:
        """Whether decoding this row has ended."""
        return self.finish_reason is not None

    @property
    def is_starting(self) -> bool:
        """Whether the next token spells something, or depends on other rows that have had the same tokens."""
        is_free = self._branch.is_alone or (self._branch.is_greedy and self.request.temperature == 0)
        return self._spells or not is_free

    @property
    def is_plain(self) -> bool:
        """Whether the next token is simply the most likely one."""
        return not self.is_starting and self.request.temperature == 0

    @property
    def _spells(self) -> bool:
        """Whether the row heals, or has to begin with one of some words."""
        return bool(self.pending or self._rests)

    def choose(self, distribution: TokenDistribution) -> int:
        """Return the next token."""
        if self._rests and not self._spelling().tokens:
            self._rests = ()  # the vocabulary can't spell any of the words
        if self.is_plain:
            return distribution.likeliest
        logits = distribution.logits
        if self._spells:
            return self._choose_spelling(logits)
        if not self._branch.is_alone:
            best = distribution.likeliest
            if self._branch.is_certain(distribution.probability(best)) and self._most_rows(best) > 1:
                return best
            return self._branch.take(distribution.top_logits(self._branch.looks_at), self._most_rows)
        return sampling.draw(logits, self.request.temperature, self.request.top_p, self._generator)

    def _choose_spelling(self, logits: torch.Tensor) -> int:
        spelling = self._spelling()
        allowed, reaching = _ids(spelling), spelling.reaching
        values = logits[allowed]
        if self._branch.is_alone:
            request = self.request
            return int(allowed[sampling.draw(values, request.temperature, request.top_p, self._generator)])
        best = int(values.argmax())
        if best >= reaching:
            return int(allowed[best])  # it spells a part of `pending`: the rows go on together
        top = sampling.top(values[:reaching], self._branch.looks_at)
        likely = [(int(allowed[i]), value) for i, value in top]
        return self._branch.take(self._different(likely) if self._rests else likely, self._most_rows)

    def _different(self, likely: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """Return the tokens without those that lead to the same text as a likelier one: to spell it in other parts."""
        different: dict[bytes, tuple[int, float]] = {}
        for token, value in likely:
            raw = self.vocabulary.output_bytes(token)[len(self.pending) :]
            different.setdefault(certain_after(self._rests, raw), (token, value))
        return list(different.values())

    def _most_rows(self, token: int) -> int:
        """Return how many rows may go on with a token besides the greedy one: none where they would stay empty."""
        text = self._stops.text
        if token in self._ends:
            return 1 if text.strip() else 0
        piece = self.vocabulary.output_bytes(token)[len(self.pending) :].decode(errors="ignore")
        kept = self._stops.before_stop(text + piece)
        if kept is not None:
            return 1 if kept.strip() else 0
        if "\n" in piece and not (piece.strip() or (self._line + text).strip()):
            return 0  # a blank line, after which comes what other rows have
        return self.request.n

    def _spelling(self) -> Spelling:
        """Return the tokens that may come next while something is to be spelled."""
        if self._rests:
            return self.vocabulary.spelling_of_words(self.pending, self._rests, self._ends)
        return self.vocabulary.spelling(self.pending)

    def push(self, token: int, distribution: TokenDistribution) -> None:
        """Add a token that was chosen from a distribution."""
        raw = self.vocabulary.output_bytes(token)
        chosen = None if self.request.logprobs is None else distribution.log_probability(token)
        if self.pending:
            if chosen is not None:
                chosen -= distribution.log_probability_of_any(_ids(self.vocabulary.spelling(self.pending)))
            if self.pending.startswith(raw):
                self.pending = self.pending[len(raw) :]
                return
            raw, self.pending = raw[len(self.pending) :], b""
        if self._rests:
            self._rests = rests_after(self._rests, raw)
        self.count += 1
        if token in self._ends:
            self._add_end(token, chosen, distribution)
            self._end("stop")
            return
        new = self._utf8.feed(raw)
        if chosen is not None:
            piece = _text(raw)
            # A broken character before this token is completed together with it.
            start = len(self._stops.text) + (len(new) - len(piece) if piece is not None else 0)
            name = piece if piece is not None else self.vocabulary.text_of(token)
            self._entries.append((start, name, chosen, self._top(distribution)))
        self._stops.feed(new)
        if self._stops.matched:
            self._end("stop")
        elif self.count >= self.request.max_tokens:
            self._end("length")

    def _add_end(self, token: int, chosen: float | None, distribution: TokenDistribution) -> None:
        """Give the end of text its entry among the log-probabilities of an echoed prompt.

        Programs that score texts request one more token than they need and drop its entry; without one they would drop
        the last token of the text instead. Other answers have entries for their text alone.
        """
        if self.request.echo and chosen is not None:
            name = self.vocabulary.text_of(token)
            self._entries.append((len(self._stops.text), name, chosen, self._top(distribution)))

    def cut(self) -> None:
        """End the row because the context is full."""
        if not self.finished:
            self._end("length")

    def delta(self) -> Choice | None:
        """Return what is new since the last call as a chunk, or None."""
        released = self._stops.released
        text = self._prefix + self._stops.text[self._sent : released]
        self._prefix, self._sent = "", max(released, self._sent)
        logprobs = self._new_logprobs(released)
        if (
            not text
            and (logprobs is None or not logprobs.tokens)
            and (not self.finished or self._sent_reason)
        ):
            return None
        self._sent_reason = self.finished
        return Choice(self.index, text, self.finish_reason, logprobs)

    def _new_logprobs(self, released: int) -> Logprobs | None:
        if self.request.logprobs is None:
            return None
        entries = self._entries[self._sent_entries :]
        shown = [e for e in entries if e[0] < released or (self.finished and not self._stops.matched)]
        self._sent_entries += len(entries) if self.finished else len(shown)
        result = Logprobs(
            tokens=tuple(e[1] for e in shown),
            token_logprobs=tuple(e[2] for e in shown),
            top_logprobs=tuple(e[3] for e in shown),
            text_offset=tuple(self.start + e[0] for e in shown),
        )
        if self._prefix_logprobs is not None:
            result, self._prefix_logprobs = self._prefix_logprobs + result, None
        return result

    def _top(self, distribution: TokenDistribution) -> dict[str, float] | None:
        return named_top(self.vocabulary, distribution.top(self.request.logprobs or 0))

    def _end(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self._stops.finish()


def named_top(vocabulary: Vocabulary, top: Sequence[tuple[int, float]]) -> dict[str, float] | None:
    """Return the log-probabilities of likely tokens, the most likely one first, by their text; None for no tokens.

    Of tokens with the same text the most likely one counts.
    """
    names: dict[str, float] = {}
    for token, value in top:
        names.setdefault(vocabulary.text_of(token), value)
    return names or None


def _ids(spelling: Spelling) -> torch.Tensor:
    return torch.frombuffer(spelling.tokens, dtype=torch.int64)


def _generator(request: CompletionRequest, rank: int) -> torch.Generator | None:
    if request.temperature == 0:
        return None
    generator = torch.Generator()
    if request.seed is None:
        generator.seed()
    else:
        generator.manual_seed(request.seed + rank)
    return generator


def _text(raw: bytes) -> str | None:
    """Decode bytes; None if they hold a part of a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
