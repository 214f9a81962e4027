"""Packs a tokenized corpus into a few small files for another machine, and unpacks it into a work folder there.

Knows the names of the files in a work folder, not their contents.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

from codegen_lsp.wire.errors import CodegenError

PART_BYTES = 15 * 2**20
"""Maximum size of one part."""

TOTAL_BYTES = 64 * 2**20
"""Maximum size of all parts together."""

_NAMES = ("manifest.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json")


class PackError(CodegenError):
    """The corpus cannot be packed or unpacked."""


def write_parts(work: Path, folder: Path) -> list[Path]:
    """Write the tokens, the tokenizer and the manifest of `work` to `part-000.xz` and so on in `folder`.

    Raises:
        PackError: the work folder has no tokens, or the archive is larger than `TOTAL_BYTES`.
    """
    names = [*_NAMES, *sorted(path.name for path in work.glob("tokens-*.npy"))]
    missing = [name for name in names if not (work / name).exists()]
    if missing or len(names) == len(_NAMES):
        raise PackError(f"no tokens in {work}: run the corpus and tokenizer commands first")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in names:
            tar.add(work / name, arcname=name)
    data = lzma.compress(archive.getvalue(), preset=6)
    if len(data) > TOTAL_BYTES:
        raise PackError(
            f"the packed corpus has {len(data) / 2**20:.0f} MiB, the maximum is 64: lower the caps in pools.py"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.xz"):
        old.unlink()
    parts = []
    for number, start in enumerate(range(0, len(data), PART_BYTES)):
        parts.append(folder / f"part-{number:03}.xz")
        parts[-1].write_bytes(data[start : start + PART_BYTES])
    return parts


def read_parts(folder: Path, work: Path) -> None:
    """Unpack the parts that `write_parts` wrote into a work folder.

    Raises:
        PackError: parts are missing, or come from different corpora.
    """
    parts = sorted(folder.glob("part-*.xz"))
    if not parts:
        raise PackError(f"no part-*.xz in {folder}: copy all parts of a packed corpus into it")
    try:
        data = lzma.decompress(b"".join(part.read_bytes() for part in parts))
        work.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(work, filter="data")
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise PackError(
            f"the parts in {folder} do not belong together: copy all of them again ({error})"
        ) from error
