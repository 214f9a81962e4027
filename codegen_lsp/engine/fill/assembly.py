"""Put a prompt together from a prefix, a suffix and other files, as token ids.

Control tokens go in by their ids. Text never becomes one. Knows formats and a vocabulary; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.fill.formats import (
    Control,
    FileText,
    FillFormat,
    Order,
    Part,
    Placeholder,
    is_control,
)

PROJECT = "project"
"""The name of every project: prompts of two folders with the same files are the same."""
UNNAMED = "file"
"""The name of a current file that has none."""
SLASHES = frozenset(
    ("c", "cc", "cpp", "cs", "go", "h", "java", "js", "jsx", "kt", "rs", "swift", "ts", "tsx")
)
"""Extensions of languages whose comments start with two slashes."""


def missing(vocabulary: Vocabulary, fill_format: FillFormat) -> tuple[str, ...]:
    """Return the control tokens of a format that a model doesn't have."""
    used = dict.fromkeys(
        part.token
        for template in (
            fill_format.psm,
            fill_format.spm,
            fill_format.project,
            fill_format.file,
            fill_format.current,
        )
        for part in fill_format.parts(template)
        if isinstance(part, Control)
    )
    return tuple(
        token for token in dict.fromkeys((*fill_format.tokens, *used)) if id_of(vocabulary, token) is None
    )


def id_of(vocabulary: Vocabulary, token: str) -> int | None:
    """Return the id of a control token, None if the model doesn't have it."""
    number: int | None = vocabulary.tokenizer.token_to_id(token)
    return number if number is not None and number < vocabulary.size else None


def ends(vocabulary: Vocabulary, fill_format: FillFormat) -> frozenset[int]:
    """Return the control tokens that end a middle: every one that the format names."""
    names = (*fill_format.tokens, *filter(is_control, fill_format.stops))
    return frozenset(number for name in names if (number := id_of(vocabulary, name)) is not None)


def text_stops(fill_format: FillFormat) -> tuple[str, ...]:
    """Return the texts that end a middle."""
    return tuple(stop for stop in fill_format.stops if not is_control(stop))


def lead(fill_format: FillFormat, order: Order) -> str:
    """Return the white space that belongs to the prefix: CodeLlama's starts with a space."""
    parts = fill_format.parts(fill_format.template(order))
    before = parts[parts.index(Placeholder("prefix")) - 1]
    return before if isinstance(before, str) and before.isspace() else ""


def assemble(
    vocabulary: Vocabulary,
    fill_format: FillFormat,
    order: Order,
    prefix: Sequence[int],
    suffix: Sequence[int],
    files: Sequence[FileText] = (),
    path: str = "",
) -> list[int]:
    """Return the ids of a prompt for the middle between a prefix (after its `lead`) and a suffix, both as ids.

    Other files come before the prefix, and `path` names the current file after them; a format without a template for
    files gets them as text, each below a comment with its path.
    """
    before, current = file_ids(vocabulary, fill_format, files, path)
    values = {"prefix": prefix, "suffix": suffix, "files": before, "current": current}
    parts = list(fill_format.parts(fill_format.template(order)))
    if lead(fill_format, order):
        del parts[parts.index(Placeholder("prefix")) - 1]
    return vocabulary.opening + _ids(vocabulary, parts, values)


def file_ids(
    vocabulary: Vocabulary, fill_format: FillFormat | None, files: Sequence[FileText], path: str
) -> tuple[list[int], list[int]]:
    """Return the ids of other files, and those that name the current one after them."""
    if not files:
        return [], []
    tokens = [i for file in files for i in _ids_of_file(vocabulary, fill_format, file)]
    if fill_format is None or not fill_format.file:
        return tokens, []
    project = _ids(vocabulary, fill_format.parts(fill_format.project), {"name": PROJECT})
    return project + tokens, _ids(
        vocabulary, fill_format.parts(fill_format.current), _file_values(FileText(path or UNNAMED, ""))
    )


def last_files(
    vocabulary: Vocabulary, fill_format: FillFormat | None, files: Sequence[FileText], room: int
) -> Sequence[FileText]:
    """Return the last of the files, as many as have at most `room` tokens; the others are not tokenized."""
    count = 0
    for file in reversed(files):
        room -= len(_ids_of_file(vocabulary, fill_format, file))
        if room < 0:
            break
        count += 1
    return files[len(files) - count :]


def _ids_of_file(vocabulary: Vocabulary, fill_format: FillFormat | None, file: FileText) -> list[int]:
    if fill_format is None or not fill_format.file:
        return vocabulary.encode_part(as_comment(file))
    return _ids(vocabulary, fill_format.parts(fill_format.file), _file_values(file))


def _file_values(file: FileText) -> dict[str, str | Sequence[int]]:
    extension = "." + file.path.rpartition(".")[2] if "." in file.path else ""
    return {"path": file.path, "ext": extension, "text": file.text}


def as_comment(file: FileText) -> str:
    """Return a file's text below a comment with its path, for families without separators."""
    mark = "//" if file.path.rpartition(".")[2].lower() in SLASHES else "#"
    return f"{mark} {file.path}\n{file.text.rstrip()}\n\n"


def _ids(
    vocabulary: Vocabulary, parts: Iterable[Part], values: Mapping[str, str | Sequence[int]]
) -> list[int]:
    """Return the ids of a template's parts; texts that follow each other are encoded as one."""
    tokens: list[int] = []
    text = ""
    for part in parts:
        value = values.get(part.name, "") if isinstance(part, Placeholder) else part
        if isinstance(value, str):
            text += value
            continue
        tokens += vocabulary.encode_part(text)
        text = ""
        tokens += [_control(vocabulary, value)] if isinstance(value, Control) else value
    return tokens + vocabulary.encode_part(text)


def _control(vocabulary: Vocabulary, part: Control) -> int:
    number = id_of(vocabulary, part.token)
    assert number is not None, "a format is used only with a vocabulary that has its tokens"
    return number
