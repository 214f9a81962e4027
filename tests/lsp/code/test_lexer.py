"""The lexer: strings, comments and brackets of every language, and time that grows with the text alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.languages import LANGUAGES
from codegen_lsp.lsp.code.lexed_cursor import LexedCursor
from codegen_lsp.lsp.code.lexer import Frame, frames_at_end, tokens


def opened(text: str, language: str) -> list[str]:
    return [frame.text for frame in frames_at_end(text, language)]


@pytest.mark.parametrize(
    ("language", "text", "frames"),
    [
        ("python", 'f("a{b}", [', ["(", "["]),
        ("python", "f'{x + g(", ["'", "{", "("]),
        ("python", "'''it's (\n", ["'''"]),
        ("python", "x = 1  # it's", ["# it's"]),
        ("python", "x = 'a\n(", ["("]),
        ("rust", "fn f<'a>(s: &'a str) -> &'static str {", ["{"]),
        ("rust", "let c = b'{'; let d = '\\''; (", ["("]),
        ("rust", 'r#"a " b', ['#"']),
        ("c", "char c = '\"'; f(", ["("]),
        ("cpp", 'R"x(a)" )y', ['"x(']),
        ("go", '`a\\` + "b', ['"']),
        ("javascript", "`a ${b({", ["`", "${", "(", "{"]),
        ("javascript", "x = /['\"(]/; [", ["["]),
        ("javascript", "don't {", ["{"]),
        ("csharp", '@"a\\" + $"{b', ['$"', "{"]),
        ("kotlin", '"${a', ['"', "${"]),
        ("swift", '"\\(a', ['"', "\\("]),
        ("php", '$a = "{$b', ['"', "{"]),
        ("ruby", '"#{a', ['"', "#{"]),
        ("lua", "x = [==[ ( ]] ", ["[==["]),
        ("lua", "--[[ ( ]] {", ["{"]),
        ("shellscript", 'echo "$(date ${x#y}', ['"', "$("]),
        ("shellscript", "case x in a) {", ["{"]),
        ("shellscript", "cat <<EOF\ndon't (\nEOF\n{", ["{"]),
        ("yaml", "a: it's [", ["["]),
        ("html", '<p class="a">it\'s', []),
        ("css", "a { /* ' */", ["{"]),
        ("emacs-lisp", "(add-hook 'foo", ["("]),
        ("sql", "x = 'it''s' AND (", ["("]),
        ("java", "{ f(a }", []),
    ],
)
def test_what_is_open_at_the_end(language: str, text: str, frames: list[str]) -> None:
    assert opened(text, language) == frames


PIECES = [*"(){}[]\"'`#\\\n", '"""', "/*", "*/", "//", "${", "#{", "a ", "<<E\n"]


@given(st.sampled_from(sorted(LANGUAGES)), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_tokens_are_pieces_of_the_text_in_order(language: str, text: str) -> None:
    whole = list(tokens(text, language))
    ends = [token.end for token in whole]
    assert ends == sorted(ends)
    for token, following in pairwise(whole):
        assert token.end <= following.start
        assert text[token.start : token.end] == token.text


TYPED = """\
def f(a, b="x{y}"):
    '''It's a "text (
    of two lines.
    '''
    x = [1, {  # one (
        `a ${b}`, /* c [
        d */ \\
        f"{g(
"""


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_text_that_is_typed_has_the_tokens_that_it_has_as_a_whole(language: str) -> None:
    for end in range(len(TYPED) + 1):
        frames: list[Frame] = []
        whole = tuple(tokens(TYPED[:end], language, frames))
        place = LexedCursor(Cursor("file:///a", language, None, 0, TYPED[:end], ""))
        assert place.tokens == whole
        # What is half typed at the end may count as one frame more.
        assert place.frames[: len(frames)] == tuple(frames)


BOMBS = [
    "(",
    "/* ",
    "'",
    '"',
    '"{',
    "(}",
    "=/[=/]",
    "`${",
    "<<EOF ",
    "\\",
    "r#",
    "'''",
    "{[(\n}",
    "$$",
    " ",
    "#",
    "\n",
]


@pytest.mark.parametrize(
    "language", ["python", "c", "javascript", "csharp", "swift", "ruby", "rust", "plaintext"]
)
@pytest.mark.parametrize("bomb", BOMBS)
def test_steps_grow_with_the_text(language: str, bomb: str) -> None:
    """The number of tokens is bounded by the length, and so is what each of them looks at."""
    text = bomb * (50_000 // len(bomb))
    assert sum(1 for _ in tokens(text, language)) <= 2 * len(text) + 1
