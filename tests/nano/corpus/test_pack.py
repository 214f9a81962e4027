"""A packed corpus arrives as it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen_lsp.nano.corpus import pack as packing
from codegen_lsp.nano.corpus.pack import PackError, read_parts, write_parts


def test_a_packed_corpus_arrives_as_it_left(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PART_BYTES", 100_000)
    parts = write_parts(work, tmp_path / "parts")
    assert len(parts) > 2
    assert all(part.stat().st_size <= 100_000 for part in parts)
    read_parts(tmp_path / "parts", tmp_path / "work")
    for name in (
        "tokens-core.npy",
        "tokens-focus.npy",
        "tokens-broad.npy",
        "tokenizer/tokenizer.json",
        "manifest.json",
    ):
        assert (tmp_path / "work" / name).read_bytes() == (work / name).read_bytes()
    parts[1].unlink()
    with pytest.raises(PackError, match="copy all of them again"):
        read_parts(tmp_path / "parts", tmp_path / "other")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="corpus and tokenizer"):
        write_parts(tmp_path, tmp_path / "parts")
    with pytest.raises(PackError, match="copy all parts"):
        read_parts(tmp_path, tmp_path / "work")
