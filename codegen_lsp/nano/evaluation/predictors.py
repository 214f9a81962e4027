"""What can be measured, behind one protocol: a language model, the n-gram baseline, the words of the buffer.

Completions heal tokens: what the cursor cuts in half is given back, and only tokens that spell it may begin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codegen_lsp.nano.corpus.corpus import CorpusError
from codegen_lsp.nano.corpus.tokenizer import load_tokenizer
from codegen_lsp.nano.evaluation.ngram import FileCache, NGramModel, mixed

MAX_TOKENS = 64
"""Tokens of a suggestion."""

WINDOW = 2048
"""Tokens that a model reads at once."""

CHUNK = 256
"""Tokens of a context for each forward pass: attention over all of it at once would fill gigabytes to throw away."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested rest of a line, and the mean log-probability of its tokens in nats; NaN if it has none."""

    text: str
    confidence: float


class Predictor(Protocol):
    """What `evaluate` measures."""

    name: str

    def nats(self, text: str) -> float | None:
        """Minus the log-probability of a whole text; None for what has no probabilities."""
        ...

    def complete(self, prefix: str) -> Suggestion | None:
        """The rest of the line after a prefix; None for no suggestion."""
        ...


class BufferWords:
    """What an editor does without help: the nearest word above that begins like the one being typed."""

    name = "words of the buffer"

    def nats(self, text: str) -> float | None:  # noqa: ARG002 - the protocol's
        """None: there are no probabilities."""
        return None

    def complete(self, prefix: str) -> Suggestion | None:
        """The rest of the nearest such word."""
        typed = re.search(r"[^\W\d]\w*$", prefix)
        if typed is None:
            return None
        words = re.findall(r"[^\W\d]\w*", prefix[: typed.start()])
        found = next(
            (word for word in reversed(words) if word.startswith(typed[0]) and word != typed[0]), None
        )
        return None if found is None else Suggestion(found[len(typed[0]) :], math.nan)


class TokenBytes:
    """The bytes of every token, and which tokens may stand where given bytes have to be spelled."""

    def __init__(self, texts: Sequence[bytes | None]) -> None:
        self.texts = texts
        self._spelling: dict[bytes, NDArray[np.int64]] = {}

    @classmethod
    def of(cls, tokenizer: Tokenizer, size: int) -> TokenBytes:
        """The vocabulary of a byte-level tokenizer; ids beyond it, and special tokens, have no text."""
        alphabet = _byte_alphabet()
        special = {
            token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        added = set(tokenizer.get_added_tokens_decoder())
        texts: list[bytes | None] = []
        for token_id in range(size):
            token = tokenizer.id_to_token(token_id)
            if token is None or token_id in special:
                texts.append(None)
            elif token_id in added:
                texts.append(token.encode())
            else:
                texts.append(bytes(alphabet[character] for character in token))
        return cls(texts)

    def spelling(self, owed: bytes) -> NDArray[np.int64]:
        """The ids of tokens that begin with `owed`, or that `owed` begins with; any token if nothing is owed."""
        if owed not in self._spelling:
            self._spelling[owed] = np.array(
                [
                    i
                    for i, text in enumerate(self.texts)
                    if text and (text.startswith(owed) or owed.startswith(text))
                ]
            )
        return self._spelling[owed]

    def ragged(self, ids: Sequence[int]) -> int:
        """How many tokens at a prefix's end may be half of another: what spells its last word, 3 at most."""
        for count in range(1, min(3, len(ids)) + 1):
            text = self.texts[ids[-count]]
            if text is None:
                return count - 1
            if not text.isalnum() or count == 3:
                return count
        return len(ids)


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2's table)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


class TokenPredictor:
    """Greedy completion to the end of the line, for whatever gives log-probabilities of the next token."""

    def __init__(self, name: str, tokenizer: Tokenizer, vocabulary_size: int) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.vocabulary = TokenBytes.of(tokenizer, vocabulary_size)

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        """Log-probabilities of the token after a prefix, (vocabulary,)."""
        raise NotImplementedError

    def extend(self, token: int) -> NDArray[np.float64]:
        """Log-probabilities of the token after one more token, (vocabulary,)."""
        raise NotImplementedError

    def complete(self, prefix: str) -> Suggestion | None:
        """The likeliest tokens, one by one, to the end of the line."""
        ids = self.encode(prefix)
        healed = self.vocabulary.ragged(ids)
        owed = b"".join(self.vocabulary.texts[token] or b"" for token in ids[len(ids) - healed :])
        scores = self.begin(ids[: len(ids) - healed])
        written, total, count = b"", 0.0, 0
        for _ in range(MAX_TOKENS):
            allowed = self.vocabulary.spelling(owed)
            within = scores[allowed]
            best = int(np.argmax(within))
            token = int(allowed[best])
            text = self.vocabulary.texts[token] or b""
            if len(text) > len(owed):
                total += float(within[best] - np.logaddexp.reduce(within))
                count += 1
            written += text[len(owed) :]
            owed = owed[len(text) :]
            if b"\n" in written:
                break
            scores = self.extend(token)
        line = written.split(b"\n")[0].decode("utf-8", "ignore").rstrip()
        return Suggestion(line, total / count) if line and count else None


class NGramPredictor(TokenPredictor):
    """The smoothed 5-gram with a cache of the open file."""

    def __init__(self, model: NGramModel, tokenizer: Tokenizer) -> None:
        super().__init__("5-gram with a cache", tokenizer, model.vocabulary)
        self.model = model
        self._cache = FileCache()
        self._context: list[int] = []

    @classmethod
    def fitted(cls, work: Path) -> NGramPredictor:
        """The baseline counted on the tokens in `work`, once: later calls find the counts there."""
        tokenizer = load_tokenizer(work / "tokenizer")
        folder, size = work / "ngram", tokenizer.get_vocab_size()
        sources = sorted(work.glob("tokens-*.npy"))
        if not sources:
            raise CorpusError(f"{work} holds no tokens to count: run the corpus and tokenizer commands first")
        stamp = folder / "keys-1.npy"
        if not stamp.exists() or any(source.stat().st_mtime > stamp.stat().st_mtime for source in sources):
            NGramModel.fit(np.concatenate([np.load(source) for source in sources]), size).save(folder)
        return cls(NGramModel.load(folder, size), tokenizer)

    def nats(self, text: str) -> float:
        """Minus the log-probability of a text, its cache filled as it goes on."""
        ids = np.array(self.encode(text), dtype=np.int64)
        cache, total = FileCache(), 0.0
        for token, below in zip(ids.tolist(), self.model.probabilities(ids).tolist(), strict=True):
            total -= math.log(mixed(below, cache.probability(token, below)))
            cache.add(token)
        return total

    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        """The cache holds the prefix."""
        self._cache.become(ids)
        self._context = list(ids[-8:])
        return self._scores()

    def extend(self, token: int) -> NDArray[np.float64]:
        """What is being suggested is context; the cache does not learn it."""
        self._context.append(token)
        return self._scores()

    def _scores(self) -> NDArray[np.float64]:
        below = self.model.distribution(self._context)
        result: NDArray[np.float64] = np.log(mixed(below, self._cache.distribution(self._context, below)))
        return result


class LanguageModel(TokenPredictor):
    """A Hugging Face causal language model with a byte-level tokenizer."""

    def __init__(self, name: str, folder: str | Path, device: str = "cpu") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = model.to(device).eval()
        super().__init__(name, tokenizer.backend_tokenizer, self.model.config.vocab_size)
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self._start: list[int] = [] if start is None else [start]
        self._device = device
        self._window = min(WINDOW, getattr(self.model.config, "max_position_embeddings", WINDOW))
        self._past: Any = None

    @torch.inference_mode()
    def nats(self, text: str) -> float:
        """Minus the log-probability of a text, in windows that overlap by half."""
        ids = torch.tensor([*self._start, *self.encode(text)])
        total, scored = 0.0, 1
        for start in range(0, len(ids), self._window // 2):
            window = ids[start : start + self._window].to(self._device)[None]
            fresh = start + window.shape[1] - scored
            if fresh <= 0:
                break
            logits = self.model(window, use_cache=False, logits_to_keep=fresh + 1).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, window[0, -fresh:], reduction="sum"))
            scored += fresh
        return total

    @torch.inference_mode()
    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        """The last tokens that leave room for a suggestion."""
        context = [*self._start, *ids][-(self._window - MAX_TOKENS) :] or [0]
        self._past = None
        for start in range(0, len(context), CHUNK):
            output = self._read(context[start : start + CHUNK])
        return self._scores(output)

    @torch.inference_mode()
    def extend(self, token: int) -> NDArray[np.float64]:
        """One token on the cache of keys and values."""
        return self._scores(self._read([token]))

    def _read(self, ids: Sequence[int]) -> Any:
        output = self.model(
            torch.tensor([ids], device=self._device),
            past_key_values=self._past,
            use_cache=True,
            logits_to_keep=1,
        )
        self._past = output.past_key_values
        return output

    @staticmethod
    def _scores(output: Any) -> NDArray[np.float64]:
        result: NDArray[np.float64] = output.logits[0, -1].double().log_softmax(-1).cpu().numpy()
        return result
