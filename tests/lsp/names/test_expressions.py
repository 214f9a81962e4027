"""What expressions and annotations say about their values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.lsp.names.expressions import annotated, chain, closing, split, value_of
from codegen_lsp.lsp.names.known import KnownNames
from codegen_lsp.lsp.names.values import Members, Value

CLIENT = Value("instance", "a.py:Client")
RESPONSE = Value("instance", "a.py:Response")
TEXT = Value("instance", "builtins.str")
KNOWN = KnownNames(
    "a.py",
    {
        "Client": Value("class", CLIENT.key),
        "Response": Value("class", RESPONSE.key),
        "mod": Value("module", "mod.py"),
    },
    {
        CLIENT.key: Members({"get": Value("function", of=RESPONSE), "last": RESPONSE, "timeout": None}),
        RESPONSE.key: Members({"text": TEXT, "history": Value("instance", "builtins.list", RESPONSE)}),
        "mod.py": Members({"connect": Value("function", of=CLIENT), "Client": Value("class", CLIENT.key)}),
    },
)
SCOPE = {**KNOWN.scope, "client": CLIENT, "clients": Value("instance", "builtins.list", CLIENT)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("client", CLIENT),
        ("client.last", RESPONSE),
        ("client.last.text", TEXT),
        ("client.timeout", None),
        ("client.missing", None),
        ("client.get('a', [1, ')'])", RESPONSE),
        ("client.get", Value("function", of=RESPONSE)),
        ("await client.get(url)", RESPONSE),
        ("(client.get(url))", RESPONSE),
        ("client.get(url).history[0]", RESPONSE),
        ("clients[-1].get(url)", RESPONSE),
        ("Client", Value("class", CLIENT.key)),
        ("Client(timeout=3)", CLIENT),
        ("mod.Client()", CLIENT),
        ("mod.connect().last", RESPONSE),
        ("given or Client()", CLIENT),
        ("Client() if x else None", CLIENT),
        ("None if x else Client()", CLIENT),
        ("cast(Client, x)", CLIENT),
        ('typing.cast("Client", x)', CLIENT),
        ("'text'", TEXT),
        ('f"{client}"', TEXT),
        ("b'bytes'", Value("instance", "builtins.bytes")),
        ("[client]", Value("instance", "builtins.list")),
        ("{}", Value("instance", "builtins.dict")),
        ("{'a': 1}", Value("instance", "builtins.dict")),
        ("{'a', 'b'}", Value("instance", "builtins.set")),
        ("str(client)", TEXT),
        ("'a' + b", None),
        ("'a' % 'b'", None),
        ("client + 1", None),
        ("client.", None),
        ("unknown.get()", None),
        ("lambda: client", None),
        ("client.get(", None),
        ("()", None),
        ("", None),
        ("client" + ".last" * 1000, None),
    ],
)
def test_the_value_of_an_expression(text: str, value: Value | None) -> None:
    assert value_of(text, SCOPE.get, KNOWN) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Client", CLIENT),
        ('"Client"', CLIENT),
        ("mod.Client", CLIENT),
        ("Client | None", CLIENT),
        ("None | 'Client'", CLIENT),
        ("Optional[Client]", CLIENT),
        ('Optional["Client"]', CLIENT),
        ("typing.Union[Client, None]", CLIENT),
        ("Annotated[Client, Meta(max=3)]", CLIENT),
        ("ClassVar[Client]", CLIENT),
        ("Union[Client, Response]", None),
        ("Client | Response", None),
        ("type[Client]", Value("class", CLIENT.key)),
        ("str", TEXT),
        ("List[Client]", Value("instance", "builtins.list", CLIENT)),
        ("list[Client]", Value("instance", "builtins.list", CLIENT)),
        ("Sequence[Client]", Value("instance", "", CLIENT)),
        ("dict[str, Client]", Value("instance", "builtins.dict", CLIENT)),
        ("tuple[Client, ...]", Value("instance", "builtins.tuple", CLIENT)),
        ("tuple[Client, Response]", Value("instance", "builtins.tuple")),
        ("Coroutine[Any, Any, Client]", CLIENT),
        ("Awaitable[Client]", CLIENT),
        ("Callable[[Client], Response]", None),
        ("Any", None),
        ("T", None),
        ("object", None),
        ("Client[", None),
        ("", None),
    ],
)
def test_the_value_of_an_annotation(text: str, value: Value | None) -> None:
    assert annotated(text, SCOPE.get, KNOWN) == value


def test_members_of_python_s_own_classes_are_known() -> None:
    members = KNOWN.members_of(TEXT)
    assert members is not None
    assert {"split", "removeprefix"} <= set(members.values)
    assert KNOWN.members_of(Value("instance", "builtins.no_class")) is None


@given(st.text("ab.()[]{}'\",=: |\n#", max_size=60))
def test_no_text_raises(text: str) -> None:
    value_of(text, SCOPE.get, KNOWN)
    annotated(text, SCOPE.get, KNOWN)
    assert all(step.text in text for step in chain(text))
    assert all(part in text for part in split(text, ","))
    end = closing(text, 0)
    assert end is None or text[end] in ")]}"
