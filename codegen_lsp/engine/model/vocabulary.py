"""Token ids, their text as bytes, and which of them may come out of a model.

Knows `tokenizers` and the facts about CodeGen's vocabulary (38 added tokens for runs of spaces and tabs above
GPT-2's 50,257; ids 50295 to 51199 without text). Knows no model and no torch.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from tokenizers import AddedToken, Tokenizer

from codegen_lsp.wire.fill.families import unflagged

CODEGEN_END = "<|endoftext|>"
"""The end of text in CodeGen's vocabulary."""

MAX_HEAL = 8
"""Maximum number of tokens that healing gives back."""

SEAM = re.compile(r"(?<=\S)(?=\n)")
"""Where a text can be cut so that its parts have the tokens of the whole: before a line end that follows a character.

No word of GPT-2's holds white space after another character.
"""

GPT2_SPACES = r"|\s+(?!\S)|\s+"
"""The end of GPT-2's word pattern: white space except its last character, which begins the next word."""

MATCHES_SPACE = re.compile(
    r"""
      \\[snrSWDH]  # a class of characters that may hold white space
    | \[\^        # a negated set
    | \.          # any character
    """,
    re.VERBOSE,
)
"""The parts of a word pattern that may match white space."""

SEGMENT = 512
"""Minimum number of characters between two cuts of a text."""

WORD_BYTES = frozenset(b for b in range(256) if b >= 0x80 or b == ord("_") or chr(b).isalnum())
"""The bytes that a word goes on with: those of ASCII letters, digits and underscores, and of all other characters."""


def byte_of_character() -> dict[str, int]:
    """Return the byte that each printable character stands for in a byte-level BPE vocabulary, as in GPT-2.

    Printable Latin-1 characters stand for themselves; the other 68 bytes take the code points from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def without_added(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer without the added tokens that are not special.

    The NL checkpoints were trained, and are sampled, with plain GPT-2 tokens; the hub gives them CodeGen's tokens for
    runs of spaces and tabs too, whose embeddings they never learned.
    """
    parts: dict[str, Any] = json.loads(tokenizer.to_str())
    parts["added_tokens"] = [t for t in parts["added_tokens"] if t["special"]]
    return Tokenizer.from_str(json.dumps(parts))


@dataclass(frozen=True, slots=True)
class Spelling:
    """The tokens that may come next while some bytes are to be spelled."""

    tokens: array[int]
    """Ids in 64 bits: those that reach the end of the bytes (and may go beyond it), then those that spell a part."""
    reaching: int
    """Number of the former."""


class Vocabulary:
    """Text to token ids and back, for a model whose logits have `size` entries."""

    def __init__(
        self, tokenizer: Tokenizer, size: int, ends: Sequence[int], start: int | None = None
    ) -> None:
        """Read the tokens; `ends` are the ids of the end of text, `start` is the only token of an empty prompt."""
        self.tokenizer = tokenizer
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.size = size
        self.ends = frozenset(e for e in ends if 0 <= e < size)
        self.start = start if start is not None else min(self.ends, default=0)
        self._pieces = [tokenizer.id_to_token(i) for i in range(size)]
        keep_control_out(tokenizer)
        added = tokenizer.get_added_tokens_decoder()
        self.special = frozenset(i for i, token in added.items() if token.special) | self.ends
        """Ids of control tokens: no text becomes one, and they become no text."""
        self._opening, self._has_dummy = _around(tokenizer)
        self.byte_level = "ByteLevel" in str(json.loads(tokenizer.to_str()).get("decoder"))
        self._added = {i: token.content for i, token in added.items()}
        self._has_seams = _splits_as_gpt2(json.loads(tokenizer.to_str()))
        self._segment_ids = lru_cache(maxsize=1024)(self._ids_of)
        self._spellings = lru_cache(maxsize=64)(self._spelling)
        self._word_spellings = lru_cache(maxsize=64)(self._spelling_of_words)
        self.bytes_of = self._all_bytes()
        self.length_of = [len(raw) for raw in self.bytes_of]
        """The number of bytes of each token."""

    @property
    def without_text(self) -> list[int]:
        """Ids that have no text and must never be decoded."""
        return [i for i, piece in enumerate(self._pieces) if piece is None]

    @cached_property
    def longest(self) -> int:
        """Number of bytes of the longest token."""
        return max(self.length_of, default=1) or 1

    @property
    def opening(self) -> list[int]:
        """Ids that the model expects at the start of every prompt."""
        return list(self._opening)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a prompt, with the special tokens that the model expects before it.

        The text is a user's: the name of a control token in it is spelled, as any other text.
        """
        return self.opening + self._encode(text) or [self.start]

    def encode_part(self, text: str) -> list[int]:
        """Return the token ids of a text that follows other tokens of a prompt."""
        if not self._has_dummy or not text:
            return self._encode(text)
        # SentencePiece puts a space before a text; a line end before it is a token by itself.
        line_end, ids = self._ids_of("\n"), self._ids_of("\n" + text)
        return ids[len(line_end) :] if ids[: len(line_end)] == line_end else self._ids_of(text)

    def _encode(self, text: str) -> list[int]:
        if not self._has_seams:
            return self._ids_of(text)
        # From one keystroke to the next only the last part changes.
        *parts, last = _segments(text)
        return [i for part in parts for i in self._segment_ids(part)] + self._ids_of(last)

    def _ids_of(self, text: str) -> list[int]:
        ids = list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        if self.special.isdisjoint(ids):
            return ids
        # The model's own vocabulary has a control token as a word: spell its name in two parts.
        names = (self._pieces[i] or "" for i in self.special.intersection(ids))
        name = min((n for n in names if len(n) > 1 and n in text), key=text.find, default="")
        cut = text.find(name) + 1
        return self._ids_of(text[:cut]) + self._ids_of(text[cut:]) if name else ids

    def text_of(self, token: int) -> str:
        """Return the name of a token in log-probabilities; `bytes:\\x..` for a part of a character."""
        raw = self.bytes_of[token]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{b:02x}" for b in raw)

    def output_bytes(self, token: int) -> bytes:
        """Return the bytes that a decoded token adds to the text: none for special tokens."""
        return b"" if token in self.special else self.bytes_of[token]

    # Token healing

    def ragged(self, tokens: Sequence[int]) -> int:
        """Return how many of the last tokens to give back.

        At least the last one, and more if together they could be the beginning of a longer token.
        """
        count = 0
        tail = b""
        for back, token in enumerate(reversed(tokens[-MAX_HEAL:]), start=1):
            if token in self.special:
                break
            tail = self.bytes_of[token] + tail
            if back == 1 or self._starts_a_token(tail):
                count = back
            if len(tail) > self.longest:
                break
        return count

    def spelling(self, pending: bytes) -> Spelling:
        """Return the tokens that may come next while `pending` is to be spelled."""
        # All rows of a request spell the same, and a space begins a third of a vocabulary.
        return self._spellings(pending)

    def _spelling(self, pending: bytes) -> Spelling:
        reaching = [token for _, token in self._beginning_with(pending)]
        return Spelling(array("q", [*reaching, *self._parts(pending)]), len(reaching))

    def spelling_of_words(self, pending: bytes, rests: tuple[bytes, ...], ends: frozenset[int]) -> Spelling:
        """Return the tokens that may come next while `pending`, and after it one of `rests`, is to be spelled.

        A token may go beyond a rest with what ends a word. Where the rest is empty, one of `ends` may come as well.
        """
        return self._word_spellings(pending, rests, ends)

    def _spelling_of_words(self, pending: bytes, rests: tuple[bytes, ...], ends: frozenset[int]) -> Spelling:
        targets = {pending + rest for rest in rests}
        first, last = max(1, len(pending)), self.longest
        parts = {t[:stop] for t in targets for stop in range(first, min(len(t), last + 1))}
        reaching = {token for part in parts for token in self._ids.get(part, ())}
        for target in targets:
            reaching.update(self._ending(target) if target else self._no_words | ends)
        return Spelling(array("q", [*sorted(reaching), *self._parts(pending)]), len(reaching))

    def _ending(self, word: bytes) -> list[int]:
        """Return the tokens that are a word, or begin with it and go on with what ends it."""
        size = len(word)
        tokens = self._beginning_with(word)
        return [token for raw, token in tokens if len(raw) == size or raw[size] not in WORD_BYTES]

    @cached_property
    def _no_words(self) -> frozenset[int]:
        """The tokens that begin with what ends a word."""
        return frozenset(self._ending(b""))

    def _beginning_with(self, prefix: bytes) -> list[tuple[bytes, int]]:
        low = bisect_left(self._sorted, (prefix, -1))
        return self._sorted[low : bisect_left(self._sorted, (first_after(prefix), -1))]

    def _parts(self, pending: bytes) -> list[int]:
        """Return the tokens that spell a part of some bytes, from their beginning."""
        return [t for stop in range(1, len(pending)) for t in self._ids.get(pending[:stop], ())]

    def _starts_a_token(self, text: bytes) -> bool:
        index = bisect_left(self._sorted, (text, -1))
        return index < len(self._sorted) and self._sorted[index][0].startswith(text)

    @cached_property
    def _sorted(self) -> list[tuple[bytes, int]]:
        pairs = ((raw, i) for i, raw in enumerate(self.bytes_of) if raw and i not in self.special)
        return sorted(pairs)

    @cached_property
    def _ids(self) -> dict[bytes, list[int]]:
        ids: dict[bytes, list[int]] = {}
        for raw, token in self._sorted:
            ids.setdefault(raw, []).append(token)
        return ids

    def _all_bytes(self) -> list[bytes]:
        table = byte_of_character()
        return [
            self._added[token].encode()
            if token in self._added and piece is not None
            else self._raw(piece, table)
            for token, piece in enumerate(self._pieces)
        ]

    def _raw(self, piece: str | None, table: dict[str, int]) -> bytes:
        """Return the bytes of a token of the vocabulary (byte-level or SentencePiece); none without a piece."""
        if piece is None:
            return b""
        if self.byte_level:
            return bytes(table[c] for c in piece) if all(c in table for c in piece) else piece.encode()
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("\u2581", " ").encode()


def keep_control_out(tokenizer: Tokenizer) -> None:
    """Let a tokenizer spell the names of control tokens in a text, those that it doesn't flag as special too."""
    if flagged := [AddedToken(**arguments, special=True) for arguments in unflagged(tokenizer)]:
        tokenizer.add_special_tokens(flagged)
    tokenizer.encode_special_tokens = True


def _around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], bool]:
    """Return the ids that a tokenizer puts before a text, and whether it begins every text with a space."""
    whole = tokenizer.encode("x").ids
    plain = tokenizer.encode("x", add_special_tokens=False)
    first = plain.tokens[0] if plain.tokens else ""
    start = next((i for i in range(len(whole)) if whole[i : i + len(plain.ids)] == plain.ids), 0)
    return tuple(whole[:start]), first.startswith("\u2581")


def _segments(text: str) -> list[str]:
    """Cut a text into parts of at least `SEGMENT` characters, each at the first seam after that many."""
    parts, start = [], 0
    while seam := SEAM.search(text, start + SEGMENT):
        parts.append(text[start : seam.start()])
        start = seam.start()
    return [*parts, text[start:]]


def _splits_as_gpt2(parts: dict[str, Any]) -> bool:
    """Return whether a tokenizer, as JSON, splits words exactly as GPT-2 does.

    Then no word and no added token holds a line end together with something else, and nothing is put around a text.
    """
    words = parts.get("pre_tokenizer") or {}
    steps = words.get("pretokenizers", [words])
    split = [step for step in steps if step.get("type") == "Split"]
    levels = [step for step in steps if step.get("type") == "ByteLevel"]
    if len(levels) != 1 or len(split) + 1 != len(steps) or levels[0].get("add_prefix_space"):
        return False
    patterns = [step["pattern"].get("Regex", "") for step in split if step.get("behavior") == "Isolated"]
    if levels[0].get("use_regex") is bool(split) or not all(map(_keeps_lines_apart, patterns)):
        return False
    if not _adds_nothing(parts.get("post_processor")) or parts.get("normalizer"):
        return False
    return not any(
        token["lstrip"] or token["rstrip"] or token["single_word"] or "\n" in token["content"]
        for token in parts["added_tokens"]
    )


def _adds_nothing(processor: dict[str, Any] | None) -> bool:
    """Return whether a tokenizer's last step leaves the tokens of a text as they are."""
    if processor is None or processor["type"] == "ByteLevel":
        return True
    parts = processor.get("single")
    return (
        processor["type"] == "TemplateProcessing"
        and isinstance(parts, list)
        and [*map(list, parts)] == [["Sequence"]]
    )


def _keeps_lines_apart(pattern: str) -> bool:
    """Return whether a word pattern handles white space as GPT-2's, and nothing else in it matches any."""
    words = pattern.removesuffix(GPT2_SPACES)
    return pattern.endswith(GPT2_SPACES) and not MATCHES_SPACE.search(words.replace("[^\\s", "["))


def first_after(prefix: bytes) -> bytes:
    """Return the first byte string after all those that start with `prefix`."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else b"\xff" * (len(prefix) + 256)
