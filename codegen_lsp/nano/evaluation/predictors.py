"""The predictors to measure, behind one protocol: a language model, the 5-gram baseline, the words of the buffer.

Completions use token healing: the last tokens of a prefix, which the cursor may have cut in half, are removed, and
only tokens that spell the same bytes may replace them.
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
from codegen_lsp.nano.evaluation.token_bytes import TokenBytes


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested rest of a line, with the mean log-probability of its tokens in nats, or NaN without one."""

    text: str
    confidence: float


class Predictor(Protocol):
    """The interface of everything that `evaluate` measures."""

    name: str

    def nats(self, text: str) -> float | None:
        """Return minus the log-probability of a whole text; None if the predictor has no probabilities."""
        ...

    def complete(self, prefix: str) -> Suggestion | None:
        """Return the rest of the line after a prefix; None for no suggestion."""
        ...


class BufferWords:
    """The baseline of every editor: the nearest word above the cursor with the prefix of the word being typed."""

    name = "words of the buffer"

    def nats(self, text: str) -> float | None:  # noqa: ARG002 - part of the protocol
        """Return None: there are no probabilities."""
        return None

    def complete(self, prefix: str) -> Suggestion | None:
        """Return the rest of the nearest word with that prefix."""
        typed = re.search(r"[^\W\d]\w*$", prefix)
        if typed is None:
            return None
        words = re.findall(r"[^\W\d]\w*", prefix[: typed.start()])
        nearest = next(
            (word for word in reversed(words) if word.startswith(typed[0]) and word != typed[0]), None
        )
        return None if nearest is None else Suggestion(nearest[len(typed[0]) :], math.nan)


MAX_TOKENS = 64
"""Maximum number of tokens in a suggestion."""


class TokenPredictor:
    """Greedy completion to the end of the line; subclasses give the log-probabilities of the next token."""

    def __init__(self, name: str, tokenizer: Tokenizer, vocabulary_size: int) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.vocabulary = TokenBytes.of(tokenizer, vocabulary_size)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        """Return the log-probabilities of the token after a prefix, (vocabulary,)."""
        raise NotImplementedError

    def extend(self, token: int) -> NDArray[np.float64]:
        """Append a token and return the log-probabilities of the next one, (vocabulary,)."""
        raise NotImplementedError

    def complete(self, prefix: str) -> Suggestion | None:
        """Decode the most likely tokens up to the end of the line."""
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
    """The smoothed 5-gram model with a cache of the open file."""

    def __init__(self, model: NGramModel, tokenizer: Tokenizer) -> None:
        super().__init__("5-gram with a cache", tokenizer, model.vocabulary)
        self.model = model
        self._cache = FileCache()
        self._context: list[int] = []

    @classmethod
    def fitted(cls, work: Path) -> NGramPredictor:
        """Count the n-grams of the tokens in `work`, or load the counts of an earlier call.

        Raises:
            CorpusError: there are no tokens in `work`.
        """
        tokenizer = load_tokenizer(work / "tokenizer")
        folder, size = work / "ngram", tokenizer.get_vocab_size()
        sources = sorted(work.glob("tokens-*.npy"))
        if not sources:
            raise CorpusError(f"no tokens in {work}: run the corpus and tokenizer commands first")
        stamp = folder / "keys-1.npy"
        if not stamp.exists() or any(source.stat().st_mtime > stamp.stat().st_mtime for source in sources):
            NGramModel.fit(np.concatenate([np.load(source) for source in sources]), size).save(folder)
        return cls(NGramModel.load(folder, size), tokenizer)

    def nats(self, text: str) -> float:
        """Return minus the log-probability of a text, adding its tokens to a cache one by one."""
        ids = np.array(self.encode(text), dtype=np.int64)
        cache, total = FileCache(), 0.0
        for token, below in zip(ids.tolist(), self.model.probabilities(ids).tolist(), strict=True):
            total -= math.log(mixed(below, cache.probability(token, below)))
            cache.add(token)
        return total

    def begin(self, ids: list[int]) -> NDArray[np.float64]:
        """Set the cache to the prefix."""
        self._cache.become(ids)
        self._context = list(ids[-8:])
        return self._scores()

    def extend(self, token: int) -> NDArray[np.float64]:
        """Append a token to the context, but not to the cache."""
        self._context.append(token)
        return self._scores()

    def _scores(self) -> NDArray[np.float64]:
        below = self.model.distribution(self._context)
        result: NDArray[np.float64] = np.log(mixed(below, self._cache.distribution(self._context, below)))
        return result


WINDOW = 2048
"""Maximum number of tokens in a model's context."""

CHUNK = 256
"""Number of tokens in one forward pass of prefill, which bounds the memory that attention needs."""


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
        """Return minus the log-probability of a text, in windows that overlap by half."""
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
        """Prefill the last tokens of a prefix, as many as leave room for a suggestion."""
        context = [*self._start, *ids][-(self._window - MAX_TOKENS) :] or [0]
        self._past = None
        for start in range(0, len(context), CHUNK):
            output = self._read(context[start : start + CHUNK])
        return self._scores(output)

    @torch.inference_mode()
    def extend(self, token: int) -> NDArray[np.float64]:
        """Decode one token with the KV cache."""
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
