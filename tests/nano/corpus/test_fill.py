"""Fill-in-the-middle rows: both forms, complete samples, one document each, the same for the same seed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from codegen_lsp.nano.corpus.corpus import CorpusError
from codegen_lsp.nano.corpus.data import Sampler, Stream
from codegen_lsp.nano.corpus.fill import FORMATS, RowFiller
from codegen_lsp.nano.corpus.middles import Parts
from codegen_lsp.nano.corpus.tokenizer import END_OF_TEXT, load_tokenizer, plain, train_tokenizer

PARTS = Parts("def f(x):\n    return ", "x + 1", "\n\n\nprint(f(1))\n")


@pytest.fixture(scope="module")
def tokenizer(work: Path) -> Tokenizer:
    return load_tokenizer(work / "tokenizer")


def shown(tokenizer: Tokenizer, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False))


@pytest.mark.parametrize("form", ["psm", "spm"])
def test_a_sample_is_its_form_then_the_middle_then_the_end_of_it(tokenizer: Tokenizer, form: str) -> None:
    prompt = FORMATS[form].format(prefix=PARTS.prefix, suffix=PARTS.suffix)
    filler = RowFiller(tokenizer)
    assert shown(tokenizer, filler.prompt(PARTS.prefix, PARTS.suffix, form)) == prompt
    assert shown(tokenizer, filler.sample(PARTS, form)) == prompt + PARTS.middle + "<eom>"


def test_the_forms_are_these() -> None:
    assert FORMATS == {
        "psm": "{prefix}<mask_1>{suffix}<|endoftext|><sep><mask_1>",
        "spm": "<mask_1>{suffix}<|endoftext|><sep>{prefix}",
        "stop": "<eom>",
        "suffix_ranking": True,
        "left_to_right": True,
    }


def test_a_longer_prefix_appends_tokens_to_an_spm_prompt(tokenizer: Tokenizer) -> None:
    filler = RowFiller(tokenizer)
    before = filler.prompt("import os\n", "\nx = 1\n", "spm")
    after = filler.prompt("import os\nimport", "\nx = 1\n", "spm")
    assert after[: len(before)] == before


def test_names_of_control_tokens_in_a_text_are_text(tokenizer: Tokenizer) -> None:
    ids = RowFiller(tokenizer).prompt("a = '<eom><mask_1>'", "<|endoftext|><sep>", "psm")
    assert [
        ids.count(tokenizer.token_to_id(token)) for token in ("<mask_1>", "<sep>", END_OF_TEXT, "<eom>")
    ] == [
        2,
        1,
        1,
        0,
    ]


def parts_of(sample: str) -> str:
    """Return the text of a sample in either form, with its parts in order; plain text stays as it is."""
    head, mark, behind = sample.partition("<|endoftext|><sep>")
    if not mark:
        return sample
    prefix, _, suffix = head.partition("<mask_1>")
    middle = behind.removesuffix("<eom>")
    return (
        prefix + middle.removeprefix("<mask_1>") + suffix
        if middle.startswith("<mask_1>")
        else middle + suffix
    )


def test_the_samples_of_a_row_put_together_are_the_document(tokenizer: Tokenizer, work: Path) -> None:
    filler = RowFiller(tokenizer)
    stream = Stream(np.load(work / "tokens-core.npy"), (0,))
    end, separator, stop = (tokenizer.token_to_id(token) for token in (END_OF_TEXT, "<sep>", "<eom>"))
    samples = 0
    for seed in range(40):
        source = stream.take(512)
        row = filler.fill(source, Random(seed))
        assert row.shape == source.shape
        assert row.dtype == source.dtype
        text = shown(tokenizer, source.tolist())
        marks = np.flatnonzero(row == end)
        starts = [
            0,
            *(int(mark) for mark in marks if row[min(mark + 1, len(row) - 1)] != separator),
            len(row),
        ]
        pieces = [row[a:b][int(row[a] == end) :] for a, b in pairwise(starts) if b > a]
        samples += sum(int((piece == stop).sum()) for piece in pieces)
        assert all((piece == stop).sum() <= 1 and (piece == separator).sum() <= 1 for piece in pieces)
        joined = "".join(parts_of(shown(tokenizer, piece.tolist())) for piece in pieces)
        assert text.replace(END_OF_TEXT, "").startswith(joined)
        assert len(joined) > 0.6 * len(text)
    assert samples > 60


def test_a_row_depends_on_its_seed_alone(tokenizer: Tokenizer, work: Path) -> None:
    shares = {"core": 0.5, "focus": 0.25, "broad": 0.25}
    rows = [Sampler(work, seed=seed, fill=1.0).batch(12, 256, shares) for seed in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_both_forms_are_in_the_rows(tokenizer: Tokenizer, work: Path) -> None:
    rows = Sampler(work, seed=0, fill=1.0).batch(100, 512, {"core": 0.4, "focus": 0.3, "broad": 0.3})
    mask, separator = tokenizer.token_to_id("<mask_1>"), tokenizer.token_to_id("<sep>")
    separators = np.argwhere(rows[:, :-1] == separator)
    psm = sum(bool(rows[row, place + 1] == mask) for row, place in separators)
    assert 0.2 < psm / len(separators) < 0.5


def test_a_row_that_cuts_a_character_in_two_stays_plain(tokenizer: Tokenizer) -> None:
    reader = plain(tokenizer)
    row = np.array(reader.encode("x = '漢字'\n" * 40).ids, dtype=np.uint16)
    halved = row[1 + int(np.flatnonzero(row == reader.encode("漢").ids[0])[0]) :]
    assert np.array_equal(RowFiller(tokenizer).fill(halved, Random(0)), halved)


def test_a_tokenizer_without_control_tokens_is_refused() -> None:
    with pytest.raises(CorpusError, match="has no token <mask_1>"):
        RowFiller(train_tokenizer(["import os\n"], 400))
