"""Builds the corpus: permissively licensed source files, cleaned, without duplicates and without held-out code.

Reads source files through `sources`; writes `corpus.jsonl` (one document a line) and `manifest.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from codegen_lsp.nano.corpus import sources
from codegen_lsp.nano.corpus.pools import Pool, Rule, group_of
from codegen_lsp.nano.corpus.texts import as_document, held_out_windows, is_generated, read_source, rejection
from codegen_lsp.nano.corpus.windows import Hashes, NearDuplicates, leaks
from codegen_lsp.wire.errors import CodegenError

_SKIPPED_FOLDERS = {
    "_vendor",
    "_vendored",
    "vendored",
    "vendor",
    "third_party",
    "extern",
    "lib2to3",
    "idlelib",
    "turtledemo",
}


class CorpusError(CodegenError):
    """The corpus, its tokens or its tokenizer is missing, or too small to train on."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One file to learn from. `pool` decides how often each stage of a training reads it."""

    distribution: str
    path: str
    pool: Pool
    text: str
    sha256: str


@dataclass(slots=True)
class ManifestEntry:
    """What the manifest says about one distribution."""

    version: str
    licence: str
    files: int = 0
    bytes: int = 0
    sha256: dict[str, str] = field(default_factory=dict)
    """First 16 hexadecimal digits of the hash of each file as installed, by path."""

    def add(self, document: CorpusDocument) -> None:
        """Count a document of this distribution."""
        self.files += 1
        self.bytes += len(document.text.encode())
        self.sha256[document.path] = document.sha256[:16]


class _Selection:
    """Decides about one file after another; a file's duplicates and its group's cap depend on those before it."""

    def __init__(self, forbidden: Hashes) -> None:
        self._forbidden = forbidden
        self._digests: set[str] = set()
        self._near = NearDuplicates()
        self._characters: Counter[str] = Counter()

    def refusal(self, raw: str, text: str, rule: Rule) -> str | None:
        """Return the reason code for leaving a text out; None takes it, and later texts are compared with it."""
        if reason := rejection(text):
            return reason
        if rule.name != "openai-generated" and is_generated(raw):
            return "generated"
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest in self._digests:
            return "duplicate"
        if self._characters[rule.name] + len(text) > rule.cap:
            return "over-cap"
        if leaks(text, self._forbidden):
            return "held-out"
        if not self._near.keeps(text):
            return "near-duplicate"
        self._digests.add(digest)
        self._characters[rule.name] += len(text)
        return None


def candidates(
    distributions: Iterable[sources.Distribution],
) -> Iterator[tuple[sources.Distribution, str, Path]]:
    """Iterate over the files of the distributions, in a shuffled order that is the same on every machine."""
    files = [
        (distribution, name, path)
        for distribution in distributions
        for name, path in distribution.files
        if not _SKIPPED_FOLDERS & set(name.split("/"))
    ]
    return iter(sorted(files, key=lambda item: hashlib.sha256(f"{item[0].name}/{item[1]}".encode()).digest()))


def select(
    distributions: Iterable[sources.Distribution], forbidden: Hashes, dropped: Counter[str]
) -> Iterator[CorpusDocument]:
    """Iterate over the documents to learn from; `dropped` counts the files left out, by reason code."""
    selection = _Selection(forbidden)
    for distribution, name, path in candidates(distributions):
        raw = read_source(path)
        if raw is None:
            dropped["unreadable"] += 1
            continue
        text = as_document(raw)
        rule = group_of(distribution.name, name, text)
        reason = selection.refusal(raw, text, rule)
        if reason is not None:
            dropped[reason] += 1
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield CorpusDocument(distribution.name, name, rule.pool, text, digest)


def build(
    work: Path, distributions: Iterable[sources.Distribution] | None = None
) -> dict[str, ManifestEntry]:
    """Write `corpus.jsonl` and `manifest.json` into `work` and return the manifest's entries by distribution.

    Without `distributions`, every installed distribution with a permissive licence is taken.
    """
    chosen = list(sources.trainable() if distributions is None else distributions)
    entries = {item.name: ManifestEntry(item.version, item.licence) for item in chosen}
    dropped: Counter[str] = Counter()
    pools: Counter[str] = Counter()
    work.mkdir(parents=True, exist_ok=True)
    with (work / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for document in select(chosen, held_out_windows(), dropped):
            entries[document.distribution].add(document)
            pools[document.pool] += len(document.text.encode())
            stream.write(json.dumps(asdict(document)) + "\n")
    entries = {name: entry for name, entry in sorted(entries.items()) if entry.files}
    summary = {
        "held_out": list(sources.HELD_OUT),
        "dropped_files": dict(sorted(dropped.items())),
        "bytes_by_pool": dict(sorted(pools.items())),
        "distributions": {name: asdict(entry) for name, entry in entries.items()},
    }
    # It ships with the language server: a value a line, and no spaces.
    lines = json.dumps(summary, indent=0, separators=(",", ":"))
    (work / "manifest.json").write_text(lines + "\n", encoding="utf-8")
    return entries


def documents(work: Path) -> Iterator[CorpusDocument]:
    """Iterate over the documents that `build` wrote, in the same order.

    Raises:
        CorpusError: `build` has not run yet.
    """
    path = work / "corpus.jsonl"
    if not path.exists():
        raise CorpusError(f"{path} does not exist: run `python -m codegen_lsp.nano corpus` first")
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield CorpusDocument(**json.loads(line))
