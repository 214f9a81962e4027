"""Texts compared by their lexical tokens: equal windows, leaks of held-out code, near duplicates."""

from __future__ import annotations

import numpy as np

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.texts import held_out_text, held_out_windows
from codegen_lsp.nano.corpus.windows import NearDuplicates, leaks, lexical_tokens, window_hashes


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
    held = held_out_windows()
    path = next(
        path
        for distribution in sources.held_out()
        if distribution.name == "starlette"
        for name, path in distribution.files
        if name.endswith("routing.py")
    )
    text = held_out_text(path)
    assert text is not None
    tokens = text.split()
    borrowed = "def unrelated():\n    pass\n" + " ".join(tokens[200:260])
    assert leaks(borrowed, held)
    assert not leaks("def unrelated():\n    pass\n" + " ".join(reversed(tokens[200:260])), held)
    assert not leaks("x = 1\n", held)


def test_near_duplicates_are_dropped_and_different_files_kept() -> None:
    near = NearDuplicates()
    text = "\n".join(f"def function_{number}(a, b):\n    return a + b * {number}" for number in range(60))
    assert near.keeps(text)
    assert not near.keeps(text.replace("function_7(", "renamed("))
    other = "\n".join(
        f"class Type{number}:\n    field: int = {number}\n    other: str" for number in range(60)
    )
    assert near.keeps(other)
