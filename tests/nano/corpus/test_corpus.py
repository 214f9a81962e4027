"""The corpus: duplicates are removed, the manifest is complete, and no held-out code is in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus import corpus, sources
from codegen_lsp.nano.corpus.sources import Distribution
from codegen_lsp.nano.corpus.texts import held_out_text, held_out_windows
from codegen_lsp.nano.corpus.windows import LEAK_WIDTH, leaks


def test_a_build_removes_duplicates_and_lists_what_it_took(
    tmp_path: Path, small_distributions: list[Distribution], work: Path
) -> None:
    manifest = json.loads((work / "manifest.json").read_text())
    assert set(manifest["distributions"]) <= {item.name for item in small_distributions}
    texts = [document.text for document in corpus.documents(work)]
    assert len(set(texts)) == len(texts) > 50
    assert manifest["dropped_files"]["duplicate"] + manifest["dropped_files"].get("near-duplicate", 0) >= 20
    for name, entry in manifest["distributions"].items():
        documents = [document for document in corpus.documents(work) if document.distribution == name]
        assert entry["files"] == len(documents)
        assert entry["bytes"] == sum(len(document.text.encode()) for document in documents)
        assert entry["licence"]


def test_the_order_of_distributions_does_not_matter(small_distributions: list[Distribution]) -> None:
    nothing = np.empty(0, dtype=np.uint64)
    first = [(d.path, d.pool) for d in corpus.select(small_distributions, nothing, Counter())]
    second = [(d.path, d.pool) for d in corpus.select(small_distributions[::-1], nothing, Counter())]
    assert first == second


@pytest.mark.slow
def test_nothing_held_out_is_in_the_training_data_of_the_shipped_model() -> None:
    """Every file of the manifest that is installed unchanged, against hashes and windows of 50 tokens."""
    held_files = {
        hashlib.sha256(path.read_bytes()).hexdigest()[:16]: name
        for distribution in sources.held_out()
        for name, path in distribution.files
        if path.stat().st_size > 100
    }
    forbidden = held_out_windows()
    manifest = json.loads((MODEL_DIR / "manifest.json").read_text())
    assert not {sources.normalized(name) for name in manifest["distributions"]} & set(sources.HELD_OUT)
    checked = listed = 0
    for distribution in sources.trainable():
        entry = manifest["distributions"].get(distribution.name)
        if entry is None:
            continue
        paths = dict(distribution.files)
        for name, digest in entry["sha256"].items():
            listed += 1
            assert digest not in held_files, (name, held_files[digest])
            path = paths.get(name)
            if path is None or hashlib.sha256(path.read_bytes()).hexdigest()[:16] != digest:
                continue
            text = held_out_text(path)
            assert text is not None
            assert not leaks(text, forbidden), f"{name} shares {LEAK_WIDTH} tokens with held-out code"
            checked += 1
    print(f"checked {checked} of {listed} files")
    assert checked > 0.5 * listed
