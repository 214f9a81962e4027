from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codegen_lsp.engine.decode.stop_strings import Stops, Utf8

letters = st.text("abc\n", max_size=30)


@given(st.text(), st.data())
def test_whatever_the_pieces_only_whole_characters_come(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "replace")
    utf8, result = Utf8(), ""
    while raw:
        size = data.draw(st.integers(1, 3))
        part = utf8.feed(raw[:size])
        assert "\ufffd" not in part or "\ufffd" in text
        result += part
        raw = raw[size:]
    assert result == text.encode("utf-8", "replace").decode()


def test_bytes_that_are_no_text_give_the_replacement_character_and_half_a_character_at_the_end_nothing() -> (
    None
):
    utf8 = Utf8()
    assert utf8.feed(b"a\xffb\xe2\x82") == "a\ufffdb"


@given(letters, st.lists(st.text("abc\n", min_size=1, max_size=4), max_size=3), st.data())
def test_the_text_ends_before_the_first_stop_and_nothing_of_it_is_released(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    scanner = Stops(stops)
    released = ""
    rest = text
    while rest and not scanner.matched:
        size = data.draw(st.integers(1, 4))
        scanner.feed(rest[:size])
        rest = rest[size:]
        assert scanner.released >= len(released), "what was released stays"
        released = scanner.text[: scanner.released]
    scanner.finish()
    # Whatever comes in one piece may hold two stops: the first one in the text counts.
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert scanner.matched == bool(ends)
    if ends:
        assert not any(stop in scanner.text for stop in stops)
        assert text.startswith(scanner.text)
        assert len(scanner.text) == min(ends) or any(
            text.startswith(stop, len(scanner.text)) for stop in stops
        )
    else:
        assert scanner.text == text
    assert scanner.released == len(scanner.text)
    assert scanner.text.startswith(released)


def test_long_stops_cost_no_more_than_short_ones() -> None:
    """Looked at again with each token, a tail of repeated characters takes a second for each of them."""
    scanner = Stops(["a" * 100_000 + "b"] * 16)
    for _ in range(300):
        scanner.feed("a" * 10)
    assert scanner.released == 0
    scanner.feed("c")
    assert scanner.released == len(scanner.text)


def test_what_could_be_a_stop_is_held_back() -> None:
    scanner = Stops(["\n\n", "END"])
    scanner.feed("a\n")
    assert (scanner.text, scanner.released) == ("a\n", 1)
    scanner.feed("b E")
    assert scanner.released == len("a\nb ")
    scanner.feed("N!")
    assert scanner.released == len("a\nb EN!")
