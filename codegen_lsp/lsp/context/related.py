"""What the code near a cursor uses: its words, the types of its names, and base classes. Pure.

Reads lines and signatures with regular expressions, as they are written in languages with `name: Type` or
`class Name(Base)`; in others it finds less.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator

from codegen_lsp.lsp.prompts.outline import Definition

STEP = 8
"""Lines from one step of distance to the next."""
MAX_TYPES = 4
"""Number of types of one name that are looked at."""
TYPE = re.compile(r"\b[A-Z]\w*")
WORD = re.compile(r"[^\W\d]\w*")
_ANNOTATED = re.compile(r"\b([^\W\d]\w*)[ \t]*:[ \t]*([^=,()\n#]{1,120})")
_MADE = re.compile(
    r"""\b([^\W\d]\w*)                       # the name
    [ \t]*(?::[^=,()\n#]{1,120})?=[ \t]*     # its annotation, which the other pattern reads
    (?:await[ ]+|new[ ]+)?(?:\w+\.)*         # the module
    ([A-Z]\w*)\(                             # the class""",
    re.VERBOSE,
)
_USED = re.compile(r"\b([^\W\d]\w*)\.")
_PYTHON_BASES = re.compile(r"class\s+\w+\s*\(([^)]*)")
_BASES = re.compile(r"(?:\bextends\b|\bimplements\b|[^:]:(?!:))([^{]*)")
_RESULT = re.compile(r"->(.*)\Z|\)\s*:(?!\s*\Z)(.*)\Z", re.DOTALL)
_ATTRIBUTE = re.compile(r"\s*(?:self|this)\.(\w+)")


def distances(text: str, near: str, line: int) -> dict[str, int]:
    """Return the words of the lines `near` a cursor, and the types of the names whose members they use.

    Each has its distance to the cursor's line, `line` of these lines, in steps of some lines. Types come before words
    that are as near: `console.` needs the members of `Console`, which a text names where it makes one.
    """
    types = types_of_names(text)
    steps: dict[str, int] = {}
    for number, each in enumerate(near.split("\n")):
        distance = 2 * (abs(number - line) // STEP)
        named = [kind for name in _USED.findall(each) for kind in types.get(name, ())]
        for words, step in ((named, distance), (WORD.findall(each), distance + 1)):
            for word in words:
                steps[word] = min(step, steps.get(word, step))
    return steps


def types_of_names(text: str) -> dict[str, tuple[str, ...]]:
    """Return the types that a text gives to names: `def f(r: Request): c = Client()` gives `r` and `c` one each."""
    types: dict[str, dict[str, None]] = defaultdict(dict)
    for name, annotation in _ANNOTATED.findall(text):
        types[name] |= dict.fromkeys(TYPE.findall(annotation))
    for name, made in _MADE.findall(text):
        types[name][made] = None
    return {name: tuple(each)[:MAX_TYPES] for name, each in types.items() if each}


def bases_of(definition: Definition) -> list[str]:
    """Return the names in a class's list of bases."""
    signature = definition.signature
    pattern = _PYTHON_BASES if not definition.opener else _BASES
    return [name for part in pattern.findall(signature) for name in WORD.findall(part)]


def result_types(definition: Definition, near: Collection[str]) -> Iterator[str]:
    """Yield the types that a function returns, or those of a class's members that are used near the cursor."""
    members = [inner for member in definition.members for inner in (member, *member.members)]
    for member in members:
        attribute = _ATTRIBUTE.match(member.signature)
        name = attribute[1] if attribute is not None else member.name
        if name in near:
            yield from _types(member)
    if not members:
        yield from _types(definition)


def _types(definition: Definition) -> Iterator[str]:
    if definition.whole:
        yield from TYPE.findall(definition.signature)
    else:
        for parts in _RESULT.findall(definition.signature):
            yield from (name for part in parts for name in TYPE.findall(part))
