"""The table of languages: everything that differs from one language to the next.

To add a language, add one entry to `_TABLE`. The lexer, the stop rules, indentation, comments, the headless
editor and the evaluations all read it from there; the editors' lists are tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Blocks = Literal["braces", "indentation", "keywords", "markup", ""]
"""What ends a block: a closing brace, a dedent, a word such as `end`, or a closing tag; empty: none."""


@dataclass(frozen=True, slots=True)
class Quote:
    """One kind of string."""

    opener: str
    """What opens it, as a regular expression."""
    closer: str
    """What closes it, as a regular expression. `%` stands for the opener's first group (`r#\"…\"#`)."""
    multiline: bool = False
    """Whether it goes on past the end of a line."""
    escape: str = r"\\.|\\\Z"
    """What hides a closer, as a regular expression; empty for raw strings."""
    interpolation: str = ""
    """What starts code within it, as a regular expression that ends in an opening bracket."""
    starts: str = "\"'`"
    """The characters that an opener may start with."""


@dataclass(frozen=True, slots=True)
class Language:
    """What is known of one language, by its LSP language id."""

    id: str
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    line_comments: tuple[str, ...] = ()
    block_comments: tuple[tuple[str, str], ...] = ()
    nested: bool = False
    """Whether block comments may hold block comments."""
    comment_guard: str = ""
    """A lookbehind that a line comment's mark must pass, such as white space before a shell's `#`."""
    quotes: tuple[Quote, ...] = ()
    characters: bool = False
    """Whether `'x'` is a character, so that a lone apostrophe opens nothing."""
    lifetimes: bool = False
    """Whether a lone apostrophe starts a name (Rust's `'a`)."""
    regexes: bool = False
    """Whether `/…/` after an operator is a regular expression."""
    literal: str = ""
    """A regular expression for other literals that hold no code, such as Ruby's `?/`."""
    literal_start: str = ""
    """The characters that such a literal may start with."""
    escapes: bool = False
    """Whether a backslash outside of strings hides the next character."""
    preprocessor: bool = False
    """Whether a line that starts with `#` is a directive."""
    blocks: Blocks = ""
    opener: str = ""
    """A regular expression for a line whose end opens a block, other than by a bracket."""
    label: str = ""
    """A regular expression for a line that starts a section of a block, such as `case 1:`."""
    closers: tuple[str, ...] = ()
    """Words that close a block: `end`, `fi`."""
    clauses: tuple[str, ...] = ()
    """Words that go on with a statement after a block of it: `else`, `catch`."""
    needs_clause: tuple[str, ...] = ()
    """Words whose statement is incomplete without a clause: `try`, `do`."""
    grammar: str = ""
    """The module of its tree-sitter grammar."""
    dialect: str = ""
    """The function of that module, where it isn't `language`."""
    indent: str = "    "
    """One level of indentation by custom."""

    @property
    def braces(self) -> bool:
        """Whether blocks are closed by a brace."""
        return self.blocks == "braces"

    def is_comment(self, line: str) -> bool:
        """Return whether a line holds nothing but a comment, or a part of one."""
        text = line.strip()
        if text.startswith("#!"):
            return False
        marks = (*self.line_comments, *(opener for opener, _ in self.block_comments))
        inside = text == "*" or text.startswith(("* ", "*/"))
        return text.startswith(marks) or (inside and ("/*", "*/") in self.block_comments)


# Strings ---------------------------------------------------------------------------------------------------

_DOUBLE = Quote('"', '"')
_SINGLE = Quote(r"(?<!\w)'", "'")
"""An apostrophe after a letter opens nothing: `don't`."""
_LONG_DOUBLE = Quote('"', '"', multiline=True)
_LONG_SINGLE = Quote(r"(?<!\w)'", "'", multiline=True)
_BACKTICK = Quote("`", "`", multiline=True)
_RAW_BACKTICK = Quote("`", "`", multiline=True, escape="")
_TEMPLATE = Quote("`", "`", multiline=True, interpolation=r"\$\{")
_TRIPLE = Quote('"""', '"""', multiline=True)
_WORD_TO_THE_LINE_END = r"[\"']?([A-Za-z_]\w*)[\"']?[^\n]*(?:\n|\Z)"
_LINE_OF_THE_WORD = r"(?m:^[ \t]*%\b)"
_HEREDOC = Quote("<<[-~]?" + _WORD_TO_THE_LINE_END, _LINE_OF_THE_WORD, True, "", starts="<")

_FORMATTED = r"(?:(?<=\b[fFtT])|(?<=\b[fFtTrR][fFtTrR]))"
_APOSTROPHE = r"(?:(?<!\w)|(?<=\b[rRbBuU])|(?<=\b[rRbB][rRbB]))"
_BRACES_TOO = r"\\.|\\\Z|\{\{"

_PYTHON = (
    Quote(_FORMATTED + '"""', '"""', True, _BRACES_TOO, r"\{"),
    Quote(_FORMATTED + "'''", "'''", True, _BRACES_TOO, r"\{"),
    Quote(_FORMATTED + '"', '"', False, _BRACES_TOO, r"\{"),
    Quote(_FORMATTED + "'", "'", False, _BRACES_TOO, r"\{"),
    _TRIPLE,
    Quote(_APOSTROPHE + "'''", "'''", True),
    _DOUBLE,
    Quote(_APOSTROPHE + "'", "'"),
)
_JAVASCRIPT = (_TEMPLATE, _DOUBLE, _SINGLE)
_RUST = (Quote(r'(?<=r)(#{0,8})"', r'"%', True, "", starts='#"'), _LONG_DOUBLE)
_CPP = (Quote(r'(?<=R)"([^\s()\\]{0,16})\(', r'\)%"', True, ""), _DOUBLE)
_KOTLIN = (
    Quote('"""', '"""', True, "", r"\$\{"),
    Quote('"', '"', interpolation=r"\$\{"),
)
_CSHARP = (
    Quote(r'\${0,8}("{3,})', "%", True, "", starts='$"'),
    Quote(r'(?:\$@|@\$)"', '"', True, r'""|\{\{', r"\{", starts="$@"),
    Quote('@"', '"', True, '""', starts="@"),
    Quote(r'\$"', '"', False, _BRACES_TOO, r"\{", starts="$"),
    _DOUBLE,
)
_SWIFT = (
    Quote(r'(#{1,8})"', '"%', True, "", starts="#"),
    Quote('"""', '"""', True, r"\\[^(]|\\\Z", r"\\\("),
    Quote('"', '"', False, r"\\[^(]|\\\Z", r"\\\("),
)
_PHP = (
    Quote(r"<<<[ \t]*" + _WORD_TO_THE_LINE_END, _LINE_OF_THE_WORD, True, "", starts="<"),
    Quote('"', '"', True, interpolation=r"\{(?=\$)|\$\{"),
    _LONG_SINGLE,
)
_RUBY = (
    Quote(r"(?<![^\n])=begin\b[^\n]*", r"(?m:^=end\b)[^\n]*", True, "", starts="="),
    Quote("<<[-~]" + _WORD_TO_THE_LINE_END, _LINE_OF_THE_WORD, True, "", starts="<"),
    Quote('"', '"', True, interpolation=r"#\{"),
    _LONG_SINGLE,
    Quote("`", "`", True, interpolation=r"#\{"),
    *(
        Quote(rf"%[qQwWiIrx]\{opener}", rf"\{closer}", True, starts="%")
        for opener, closer in ("()", "[]", "{}", "||")
    ),
)
_PERL_LITERAL = "|".join(
    rf"(?:(?<=\bm)|(?<=\bq)|(?<=\bq[qrw])|(?<=~ )){mark}(?:\\.|[^\\\n{mark}])*{mark}"
    rf"|(?:(?<=\b[sy])|(?<=\btr)){mark}(?:\\.|[^\\\n{mark}])*{mark}(?:\\.|[^\\\n{mark}])*{mark}"
    for mark in ("/", r"\|", "!")
)
"""Patterns and quotes with a mark of their own: `m/'/`, `s|"||`, `q!don't!`."""
_PERL_HERE = Quote(
    r"<<~?(?:[\"']([^\"'\n]+)[\"']|([A-Z_]\w*))[^\n]*(?:\n|\Z)", _LINE_OF_THE_WORD, True, "", starts="<"
)
_POD = Quote(
    r"(?<![^\n])=(?:head\d|pod|over|item|begin|for|encoding)\b[^\n]*",
    r"(?m:^=cut\b)[^\n]*",
    True,
    "",
    starts="=",
)
_ZIG_LINE = Quote(r"\\\\", "(?=\n)", False, "", starts="\\")
_LUA = (Quote(r"\[(=*)\[", r"\]%\]", True, ""), _DOUBLE, _SINGLE)
_SHELL = (
    _HEREDOC,
    Quote('"', '"', True, interpolation=r"\$[({]"),
    Quote("'", "'", True, ""),
)
_YAML = (
    Quote(r'(?<![^\s\[{,(])"', '"'),
    Quote(r"(?<![^\s\[{,(])'", "'", escape="''"),
)
_ATTRIBUTES = (Quote(r'(?<==)"', '"', True, ""), Quote(r"(?<==)'", "'", True, ""))
_DART = (
    Quote('"""', '"""', True, interpolation=r"\$\{"),
    Quote("'''", "'''", True, interpolation=r"\$\{"),
    Quote('"', '"', interpolation=r"\$\{"),
    Quote(r"(?<!\w)'", "'", interpolation=r"\$\{"),
)
_SQL = (Quote("'", "'", True, "''"), Quote('"', '"', escape='""'))

# Comments and blocks ---------------------------------------------------------------------------------------

_STAR = (("/*", "*/"),)
_AFTER_SPACE = r"(?<!\S)"
_C_LABEL = r"""(?x:
    \s*
    (?: case\b.* | default
      | public | private | protected | signals    # sections of a class, and Qt's
      | (?:public|private|protected)\s+slots
    )
    \s*:\s*
    (?:\{\s*)?                                    # `case 1: {`
    (?://.*)?
)"""
_C_CLAUSES = ("else", "catch", "finally", "while")
_PYTHON_OPENER = r"""(?x:
    \s*
    (?: (?:async\s+)?
        (?:def|class|if|elif|else|for|while|with|try|except|finally|match|case)\b.*
      | [)\]}].*                                  # the last line of a head over several: `) -> int:`
    )
    :\s*(?:\#.*)?
)"""
_RUBY_OPENER = r"""(?x:
    \s*
    (?: (?:def|class|module|if|unless|while|until|case|begin|for|else|elsif|when|in|rescue|ensure)\b.*
      | .*\bdo(?:\s*\|[^|]*\|)?                  # `list.each do |x|`
      | [^\s\#].*=\s*(?:if|unless|case|begin)\b.*   # `x = if y`
    )
    \s*(?:\#.*)?
)"""
_LUA_OPENER = r"""(?x:
    (?: .*\b(?:then|do|else|repeat)
      | .*\bfunction\b[^()]*\([^()]*\)
    )
    \s*(?:--.*)?
)"""
_SHELL_OPENER = r"""(?x:
    (?: .*\b(?:then|do|else)
      | \s*case\b.*\bin
      | \s*[^()\s][^()]*\)                        # a pattern of `case`: `-h|--help)`
    )
    \s*(?:\#.*)?
)"""
_UNKNOWN_OPENER = rf"""(?x:
    {_PYTHON_OPENER}
  | .*(?: \b(?:case\b.*|default|public|private|protected)\s*:
        | \b(?:do|then|begin)
      )
    \s*(?://.*)?
)"""
_TAG_OPENER = r"""(?x:
    .*<
    (?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)    # these have no closing tag
    [A-Za-z][^<>]*(?<!/)>\s*
)"""
_C_LIKE = {
    "line_comments": ("//",),
    "block_comments": _STAR,
    "blocks": "braces",
    "label": _C_LABEL,
    "clauses": _C_CLAUSES,
    "needs_clause": ("try", "do"),
}


def _c_like(name: str, *extensions: str, **more: object) -> Language:
    """Return a language with C's comments, braces and labels, and what differs from C."""
    return Language(name, extensions, **{**_C_LIKE, **more})  # type: ignore[arg-type]


def _markup(name: str, *extensions: str) -> Language:
    """Return a language of tags, with HTML's comments and attributes, indented by two spaces."""
    return Language(
        name,
        extensions,
        block_comments=(("<!--", "-->"),),
        quotes=_ATTRIBUTES,
        blocks="markup",
        opener=_TAG_OPENER,
        indent="  ",
    )


_TABLE = (
    Language(
        "python",
        (".py", ".pyi"),
        line_comments=("#",),
        quotes=_PYTHON,
        blocks="indentation",
        opener=_PYTHON_OPENER,
        clauses=("elif", "else", "except", "finally"),
        needs_clause=("try",),
        grammar="tree_sitter_python",
    ),
    _c_like(
        "c",
        ".c",
        ".h",
        quotes=(_DOUBLE,),
        characters=True,
        preprocessor=True,
        grammar="tree_sitter_c",
    ),
    _c_like(
        "cpp",
        ".cc",
        ".cpp",
        ".cxx",
        ".hh",
        ".hpp",
        ".hxx",
        quotes=_CPP,
        characters=True,
        preprocessor=True,
        grammar="tree_sitter_cpp",
    ),
    _c_like(
        "go",
        ".go",
        quotes=(_RAW_BACKTICK, _DOUBLE),
        characters=True,
        indent="\t",
        grammar="tree_sitter_go",
    ),
    _c_like("java", ".java", quotes=(_TRIPLE, _DOUBLE), characters=True, grammar="tree_sitter_java"),
    _c_like(
        "javascript",
        ".js",
        ".mjs",
        ".cjs",
        quotes=_JAVASCRIPT,
        regexes=True,
        indent="  ",
        grammar="tree_sitter_javascript",
    ),
    _c_like(
        "javascriptreact",
        ".jsx",
        quotes=_JAVASCRIPT,
        regexes=True,
        indent="  ",
        grammar="tree_sitter_javascript",
    ),
    _c_like(
        "typescript",
        ".ts",
        ".mts",
        ".cts",
        quotes=_JAVASCRIPT,
        regexes=True,
        indent="  ",
        grammar="tree_sitter_typescript",
        dialect="language_typescript",
    ),
    _c_like(
        "typescriptreact",
        ".tsx",
        quotes=_JAVASCRIPT,
        regexes=True,
        indent="  ",
        grammar="tree_sitter_typescript",
        dialect="language_tsx",
    ),
    _c_like("rust", ".rs", nested=True, quotes=_RUST, characters=True, lifetimes=True, label=""),
    _c_like("csharp", ".cs", quotes=_CSHARP, characters=True, preprocessor=True),
    _c_like("kotlin", ".kt", ".kts", nested=True, quotes=_KOTLIN, characters=True, label=""),
    _c_like("swift", ".swift", nested=True, quotes=_SWIFT),
    _c_like("scala", ".scala", ".sc", quotes=_KOTLIN, characters=True, lifetimes=True, label="", indent="  "),
    _c_like("dart", ".dart", nested=True, quotes=_DART, indent="  "),
    _c_like("groovy", ".groovy", ".gradle", quotes=(_TRIPLE, _DOUBLE, _SINGLE)),
    _c_like("objective-c", ".m", ".mm", quotes=(_DOUBLE,), characters=True, preprocessor=True),
    _c_like("zig", ".zig", quotes=(_DOUBLE, _ZIG_LINE), characters=True, label="", block_comments=()),
    _c_like(
        "php",
        ".php",
        quotes=_PHP,
        line_comments=("//", "#"),
        comment_guard=r"(?<!:)(?!#\[)",
    ),
    _c_like("css", ".css", quotes=(_DOUBLE, _SINGLE), line_comments=(), label="", indent="  "),
    _c_like("scss", ".scss", quotes=(_DOUBLE, _SINGLE), comment_guard="(?<!:)", label="", indent="  "),
    _c_like("less", ".less", quotes=(_DOUBLE, _SINGLE), comment_guard="(?<!:)", label="", indent="  "),
    _c_like("json", ".json", quotes=(_DOUBLE,), label="", indent="  "),
    _c_like("jsonc", ".jsonc", quotes=(_DOUBLE,), label="", indent="  "),
    _c_like("hcl", ".hcl", ".tf", quotes=(_HEREDOC, Quote('"', '"', interpolation=r"\$\{")), indent="  "),
    _c_like("terraform", quotes=(_HEREDOC, Quote('"', '"', interpolation=r"\$\{")), indent="  "),
    Language(
        "r",
        (".r",),
        line_comments=("#",),
        quotes=(_LONG_DOUBLE, _LONG_SINGLE),
        blocks="braces",
        clauses=("else",),
        indent="  ",
    ),
    Language(
        "perl",
        (".pl", ".pm"),
        line_comments=("#",),
        comment_guard=_AFTER_SPACE,
        quotes=(_PERL_HERE, _POD, _LONG_DOUBLE, _LONG_SINGLE),
        literal=_PERL_LITERAL,
        literal_start="/|!",
        blocks="braces",
        clauses=("else", "elsif"),
    ),
    Language(
        "ruby",
        (".rb", ".rake", ".gemspec"),
        ("Rakefile", "Gemfile"),
        line_comments=("#",),
        comment_guard=_AFTER_SPACE,
        quotes=_RUBY,
        regexes=True,
        literal=r"(?<![\w)\]}?])\?[^\s\w](?!\w)",
        literal_start="?",
        blocks="keywords",
        opener=_RUBY_OPENER,
        closers=("end",),
        clauses=("else", "elsif", "when", "in", "rescue", "ensure"),
        indent="  ",
    ),
    Language(
        "lua",
        (".lua",),
        line_comments=("--",),
        block_comments=(("--[[", "]]"), ("--[=[", "]=]")),
        quotes=_LUA,
        blocks="keywords",
        opener=_LUA_OPENER,
        closers=("end", "until"),
        clauses=("else", "elseif"),
        indent="  ",
    ),
    Language(
        "shellscript",
        (".sh", ".bash", ".zsh"),
        line_comments=("#",),
        comment_guard=_AFTER_SPACE,
        quotes=_SHELL,
        escapes=True,
        blocks="keywords",
        opener=_SHELL_OPENER,
        closers=("fi", "done", "esac", ";;"),
        clauses=("else", "elif"),
        indent="  ",
    ),
    Language(
        "elixir",
        (".ex", ".exs"),
        line_comments=("#",),
        quotes=(Quote('"""', '"""', True, interpolation=r"#\{"), Quote('"', '"', True, interpolation=r"#\{")),
        blocks="keywords",
        opener=r".*(?:\bdo|->)\s*(?:\#.*)?",
        closers=("end",),
        clauses=("else", "rescue", "catch", "after"),
        indent="  ",
    ),
    Language(
        "julia",
        (".jl",),
        line_comments=("#",),
        quotes=(_TRIPLE, _DOUBLE),
        characters=True,
        blocks="keywords",
        opener=r"\s*(?:function|if|for|while|let|begin|struct|mutable|module|try|else|elseif|catch)\b.*",
        closers=("end",),
        clauses=("else", "elseif", "catch", "finally"),
    ),
    Language(
        "yaml",
        (".yaml", ".yml"),
        line_comments=("#",),
        comment_guard=_AFTER_SPACE,
        quotes=_YAML,
        blocks="indentation",
        opener=r"\s*[^\s\#].*:(?:\s+[|>][-+\d]*|\s+[&!]\S+)?\s*(?:\s\#.*)?|\s*-\s*",
        indent="  ",
    ),
    Language("toml", (".toml",), line_comments=("#",), quotes=(_TRIPLE, _DOUBLE, _SINGLE)),
    Language("ini", (".ini", ".cfg"), line_comments=("#", ";"), comment_guard=r"(?<![^\n])"),
    _markup("html", ".html", ".htm"),
    _markup("xml", ".xml", ".svg"),
    _markup("vue", ".vue"),
    _markup("svelte", ".svelte"),
    Language("markdown", (".md",), block_comments=(("<!--", "-->"),)),
    Language("plaintext", (".txt",)),
    Language(
        "makefile",
        (".mk",),
        ("Makefile", "makefile", "GNUmakefile"),
        line_comments=("#",),
        comment_guard=_AFTER_SPACE,
        escapes=True,
        blocks="indentation",
        opener=r"[^\s\#=:][^=]*?::?(?!=)[^=]*",
        indent="\t",
    ),
    Language(
        "dockerfile", (), ("Dockerfile",), line_comments=("#",), comment_guard=_AFTER_SPACE, quotes=_SHELL[1:]
    ),
    Language("sql", (".sql",), line_comments=("--",), block_comments=_STAR, quotes=_SQL),
    Language(
        "haskell",
        (".hs",),
        line_comments=("--",),
        block_comments=(("{-", "-}"),),
        nested=True,
        quotes=(_DOUBLE,),
        characters=True,
        lifetimes=True,
        blocks="indentation",
        opener=r".*(?:\b(?:where|do|of|let)|(?<![=<>/])=|->)\s*(?:--.*)?",
        indent="  ",
    ),
    Language("ocaml", (".ml", ".mli"), block_comments=(("(*", "*)"),), quotes=(_LONG_DOUBLE,), indent="  "),
    Language(
        "clojure", (".clj", ".cljs"), line_comments=(";",), quotes=(_LONG_DOUBLE,), escapes=True, indent="  "
    ),
    Language("lisp", (".lisp",), line_comments=(";",), quotes=(_LONG_DOUBLE,), escapes=True, indent="  "),
    Language("emacs-lisp", (".el",), line_comments=(";",), quotes=(_LONG_DOUBLE,), escapes=True, indent="  "),
    Language("scheme", (".scm",), line_comments=(";",), quotes=(_LONG_DOUBLE,), escapes=True, indent="  "),
)

LANGUAGES = {language.id: language for language in _TABLE}
"""The languages by their LSP language id."""
EXTENSIONS = {extension: language.id for language in _TABLE for extension in language.extensions}
"""LSP language ids by file extension."""
GRAMMARS = {language.id: language.grammar for language in _TABLE if language.grammar}
"""The tree-sitter grammar's module by language id."""
_FILENAMES = {name: language.id for language in _TABLE for name in language.filenames}


def language(name: str) -> Language:
    """Return the language with an LSP language id; for an unknown one, what holds roughly for any."""
    return LANGUAGES.get(name) or _unknown(name)


def language_of(path: PurePath) -> str:
    """Return the LSP language id of a file by its name, `plaintext` where the name says nothing."""
    return _FILENAMES.get(path.name) or EXTENSIONS.get(path.suffix.lower(), "plaintext")


def _unknown(name: str) -> Language:
    return Language(
        name,
        line_comments=("#", "//", "--"),
        block_comments=_STAR,
        comment_guard=_AFTER_SPACE,
        quotes=(_DOUBLE, _SINGLE),
        opener=_UNKNOWN_OPENER,
    )
