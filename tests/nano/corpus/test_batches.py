"""Batches that processes read ahead are those of a sampler alone, over a change of stage and a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from codegen_lsp.nano.corpus.batches import Batches
from codegen_lsp.nano.corpus.data import Sampler
from codegen_lsp.nano.corpus.pools import Pool

MIXED: dict[Pool, float] = {"core": 0.3, "focus": 0.3, "broad": 0.4}
CLOSE: dict[Pool, float] = {"core": 0.8, "focus": 0.1, "broad": 0.1}


@pytest.fixture
def ahead(work: Path) -> Iterator[Batches]:
    batches = Batches(Sampler(work, seed=0, fill=0.5), workers=2)
    yield batches
    batches.close()


def test_processes_read_the_batches_of_a_sampler(work: Path, ahead: Batches) -> None:
    alone = Sampler(work, seed=0, fill=0.5)
    for rows, length, shares in [(3, 128, MIXED)] * 4 + [(2, 256, CLOSE)] * 4 + [(3, 128, MIXED)] * 2:
        assert np.array_equal(ahead.next(rows, length, shares), alone.batch(rows, length, shares))


def test_the_state_is_that_of_the_next_batch(work: Path, ahead: Batches) -> None:
    for _ in range(3):
        ahead.next(3, 128, MIXED)
    alone = Sampler(work, seed=0, fill=0.5)
    alone.restore(ahead.state())
    expected = alone.batch(3, 128, MIXED)
    state = ahead.state()
    assert np.array_equal(ahead.next(3, 128, MIXED), expected)
    ahead.restore(state)
    assert np.array_equal(ahead.next(3, 128, MIXED), expected)
