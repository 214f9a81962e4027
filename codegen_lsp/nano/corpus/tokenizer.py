"""Trains a tokenizer like CodeGen's: byte-level BPE, with single tokens for runs of spaces and tabs.

Takes text and writes a folder that `AutoTokenizer` loads. Knows text, no models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from codegen_lsp.nano.corpus.corpus import CorpusDocument, CorpusError, documents

END_OF_TEXT = "<|endoftext|>"
"""Separates documents, begins a text and pads a batch, as in CodeGen."""

MASK = "<mask_1>"
SEPARATOR = "<sep>"
END_OF_MIDDLE = "<eom>"
SENTINELS = (MASK, SEPARATOR, END_OF_MIDDLE)
"""CodeGen2's control tokens for fill-in-the-middle prompts; see `fill` for their use."""

VOCABULARY = 8192
"""Number of tokens without the control tokens, whose ids follow."""

PADDED_VOCABULARY = 8200
"""Number of rows of a model's embeddings: all tokens, padded to a multiple of eight."""

SPACES = [" " * length for length in range(31, 1, -1)]
TABS = ["\t" * length for length in range(9, 1, -1)]

_RUN = re.compile(r" {2,}|\t{2,}")

_WORDS = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's words, except that numbers are split after three digits: a small vocabulary has no room for years."""


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Train a tokenizer with `vocabulary` tokens: 256 bytes, merges, `<|endoftext|>`, then runs of white space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    runs = [*SPACES, *TABS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(runs) - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator((_between_runs(text) for text in texts), trainer)
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(run, normalized=False) for run in runs])
    return tokenizer


def build_tokenizer(work: Path, base: Path | None = None) -> Tokenizer:
    """Train a tokenizer on the corpus in `work`, or take the one of the checkpoint `base`, and save it in `work`.

    It has the control tokens in both cases.

    Raises:
        CorpusError: there is no corpus in `work`, or no tokenizer in `base`.
    """
    tokenizer = load_tokenizer(base) if base else train_tokenizer(training_texts(documents(work)))
    extended = with_sentinels(tokenizer)
    save_tokenizer(extended, work / "tokenizer")
    return extended


def with_sentinels(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy with the control tokens appended; the ids of all other tokens stay as they are."""
    extended: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    extended.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SENTINELS])
    return extended


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that encodes the names of special tokens as text."""
    copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    copy.encode_special_tokens = True
    return copy


def _between_runs(text: str) -> list[str]:
    """Return the pieces of a text between runs of white space, which BPE must not learn: each run is a token."""
    return [piece for piece in _RUN.split(text) if piece]


def save_tokenizer(tokenizer: Tokenizer, folder: Path, length: int = 2048) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": length,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer that `save_tokenizer` wrote.

    Raises:
        CorpusError: there is no tokenizer in the folder.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CorpusError(f"{path} does not exist: run `python -m codegen_lsp.nano tokenizer` first")
    return Tokenizer.from_file(str(path))


def training_texts(corpus: Iterable[CorpusDocument], characters: int = 45_000_000) -> Iterator[str]:
    """Iterate over the texts to train a tokenizer on: the pools core and focus first, up to `characters`."""
    texts = sorted(corpus, key=lambda document: document.pool == "broad")
    for document in texts:
        characters -= len(document.text)
        if characters < 0:
            return
        yield document.text
