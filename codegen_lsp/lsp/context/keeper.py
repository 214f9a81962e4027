"""What is known of other files for each open document, renewed in the background when a file is saved, closed or left.

Never because of typing: the text that a prompt starts with stays the same from one keystroke to the next, so that the
engine's prefix cache keeps it. Knows which documents are excluded, too. Speaks no LSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit
from urllib.request import url2pathname

from codegen_lsp.lsp.context.background import BackgroundReader
from codegen_lsp.lsp.context.snapshot import DocumentSnapshot, OpenDocument
from codegen_lsp.lsp.options.options import Options
from codegen_lsp.lsp.prompts.others import NO_FILES, OtherFiles
from codegen_lsp.lsp.uris import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codegen_lsp.lsp.context.files import WorkspaceFiles

logger = logging.getLogger(__name__)

VERDICT_SECONDS = 1.0
"""How long the first request of a document waits to know whether it is excluded."""
FAR = 20
"""Number of lines from those whose names a reading has looked at to a cursor that needs another reading."""
RECENT = 12
"""Number of recently edited files whose passages are compared with the code at the cursor."""
_WITH_PATHS = ("file", "vscode-notebook-cell")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the editor has: workspace folders as URIs, and the open documents by canonical URI."""

    folders: tuple[str, ...] = ()
    documents: Mapping[str, OpenDocument] = field(default_factory=dict)


class ContextKeeper:
    """The other files of every open document."""

    def __init__(self, desk: Callable[[], Desk] = Desk) -> None:
        """`desk` returns what the editor has now."""
        self._desk = desk
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with the URI of a new document, or of the one that the user is in, when something new is known."""
        self._options = Options()
        self._others: dict[str, OtherFiles] = {}
        self._verdicts: dict[str, bool] = {}
        """Whether each document is excluded; known before its other files are."""
        self._waiting: dict[str, asyncio.Event] = {}
        self._lines: dict[str, int] = {}
        self._recent: OrderedDict[str, str] = OrderedDict()
        """Paths of edited and visited files, the newest last, each with its language."""
        self._active = ""
        self._background: BackgroundReader[OtherFiles] = BackgroundReader()
        self._files: tuple[tuple[tuple[str, ...], tuple[str, ...]], WorkspaceFiles] | None = None

    # What is known -------------------------------------------------------------------------------------

    def others(self, uri: str) -> OtherFiles:
        """Return what other files say about a document, as far as it is known now."""
        return self._others.get(canonical(uri), NO_FILES)

    def excludes(self, uri: str) -> bool:
        """Return whether nothing may be suggested in a document: it is excluded, or that is not known yet."""
        return path_of(uri) is not None and self._verdicts.get(canonical(uri), True)

    async def settle(self, uri: str) -> None:
        """Wait until it is known whether a document is excluded, for a short time at most."""
        key = canonical(uri)
        if path_of(uri) is None or key in self._verdicts:
            return
        if key not in self._waiting:
            self.renew(uri)
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERDICT_SECONDS):
                await waiting.wait()

    # What happens --------------------------------------------------------------------------------------

    def configure(self, options: Options) -> None:
        """Apply options; what they change is found out again for every open document."""
        before, self._options = self._options, options
        if _part(before) == _part(options):
            return
        self._others.clear()
        self._verdicts.clear()
        self._waiting.clear()
        self.renew_all()

    def renew_all(self) -> None:
        """Renew what is known of every open document."""
        documents = self._desk().documents
        # The last one that changes is warmed last: the one that the user is in.
        for key in sorted(documents, key=lambda key: key == self._active):
            self.renew(documents[key].uri)

    def opened(self, uri: str) -> None:
        """Look at a document that was opened."""
        self.renew(uri)

    def visited(self, uri: str, line: int) -> None:
        """Note where the user is. In another document than before, that one was left: its changes count here now."""
        key = canonical(uri)
        is_first = key not in self._lines
        self._lines[key] = line
        if is_first and line > FAR:
            self.renew(uri)  # it was opened at its beginning
        if key == self._active:
            return
        is_return = bool(self._active)
        self._active = key
        self._remember(uri)
        if is_return and key in self._others:
            self.renew(uri)

    def saved(self, uri: str) -> None:
        """Renew what is known in the document that the user is in: a file was saved."""
        self._remember(uri)
        self.renew(self._active or uri)
        if canonical(uri) != self._active:
            self.renew(uri)

    def closed(self, uri: str) -> None:
        """Forget a document that was closed, and renew what is known in the one that the user is in."""
        key = canonical(uri)
        self._others.pop(key, None)
        self._verdicts.pop(key, None)
        self._lines.pop(key, None)
        self._background.forget(key)
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.set()
        if self._active == key:
            self._active = ""
        elif self._active:
            self.renew(self._active)

    def _remember(self, uri: str) -> None:
        path = path_of(uri)
        document = self._desk().documents.get(canonical(uri))
        if path is not None and document is not None:
            self._recent.pop(path, None)
            self._recent[path] = document.language
            while len(self._recent) > 4 * RECENT:
                self._recent.popitem(last=False)

    # Reading -------------------------------------------------------------------------------------------

    def renew(self, uri: str) -> None:
        """Find out in the background what other files say about a document now."""
        key, path = canonical(uri), path_of(uri)
        desk = self._desk()
        document = desk.documents.get(key)
        if path is None or document is None:
            return
        waiting = self._waiting.setdefault(key, asyncio.Event())
        loop = asyncio.get_running_loop()
        snapshot, folders, texts = self._snapshot(path, document, desk)
        options = self._options

        def decided(excluded: bool) -> None:
            if self._waiting.get(key) is waiting:  # otherwise it was closed, or the options changed
                self._verdicts[key] = excluded
                waiting.set()

        def gathered(others: OtherFiles) -> None:
            before = self._others.get(key)
            if self._waiting.get(key) is not waiting:
                return
            self._others[key] = others  # even if they are equal: they may be given more room now
            if others != before and (before is None or key == self._active or not self._active):
                self.on_change(document.uri)

        def work() -> OtherFiles:
            files = self._workspace(folders, options.exclude)
            excluded = files.excludes(path)
            loop.call_soon_threadsafe(decided, excluded)
            if excluded:
                return NO_FILES
            others = _gathered(snapshot, texts, files, options)
            return others if options.shows_other_files else replace(others, pieces=())

        self._background.submit(key, work, gathered)

    def _snapshot(
        self, path: str, document: OpenDocument, desk: Desk
    ) -> tuple[DocumentSnapshot, tuple[str, ...], dict[str, str]]:
        """Return all that the thread needs: the document, the workspace folders, and the open documents' texts."""
        paths = {other: each for each in desk.documents.values() if (other := path_of(each.uri)) is not None}
        language = document.language
        recent = [other for other, name in reversed(self._recent.items()) if name == language]
        recent += [other for other, each in paths.items() if each.language == language]
        return (
            DocumentSnapshot(
                path,
                language,
                document.text,
                self._lines.get(canonical(document.uri), 0),
                tuple(other for other in dict.fromkeys(recent) if other != path)[:RECENT],
            ),
            tuple(folder for uri in desk.folders if (folder := path_of(uri)) is not None),
            {other: each.text for other, each in paths.items()},
        )

    def _workspace(self, folders: tuple[str, ...], patterns: tuple[str, ...]) -> WorkspaceFiles:
        """Return the files of the workspace folders, the same ones until folders or patterns change."""
        from codegen_lsp.lsp.context.files import WorkspaceFiles

        if self._files is None or self._files[0] != (folders, patterns):
            self._files = (folders, patterns), WorkspaceFiles(folders, patterns)
        return self._files[1]


def _gathered(
    snapshot: DocumentSnapshot, texts: Mapping[str, str], files: WorkspaceFiles, options: Options
) -> OtherFiles:
    """Return what other files say about a document; runs in the thread, and imports there what it takes."""
    from codegen_lsp.lsp.code.lines import normalize
    from codegen_lsp.lsp.context.files import BoundedReading, ReadingLimits
    from codegen_lsp.lsp.context.gathering import gather

    real = {files.real(path): normalize(text) for path, text in texts.items()}
    documents = {path: text for path, text in real.items() if path is not None}
    limits = ReadingLimits(options.other_files_limit, options.other_file_size)
    try:
        reading = BoundedReading(files, documents, limits)
        reads = options.other_files != "never"
        return gather(snapshot, reading, imports=reads, similar=reads and options.similar_files)
    except Exception:  # Whatever is in the files: suggestions in this one go on.
        logger.exception("other files can't be used in %s", snapshot.path)
        return NO_FILES


def path_of(uri: str) -> str | None:
    """Return the path of a file's URI, also of a notebook's cell; None for documents that are no files."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme not in _WITH_PATHS or not parts.path or "\0" in parts.path or "%00" in parts.path:
        return None
    path = url2pathname(parts.path)
    return f"//{parts.netloc}{path}" if parts.netloc and parts.scheme == "file" else path


def _part(options: Options) -> tuple[object, ...]:
    """Return the part of the options that the findings depend on."""
    return (
        options.other_files,
        options.shows_other_files,
        options.similar_files,
        options.exclude,
        options.other_files_limit,
        options.other_file_size,
    )
