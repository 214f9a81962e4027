from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen_lsp.engine.model.kv_layout import Piece
from codegen_lsp.engine.model.prefix_cache import SEGMENT, PrefixCache

GROUPS = ((2, 3, 4), (1, 2, 5))
"""(layers, heads, width) of two groups of layers, as a model split over devices has."""
TOKEN_BYTES = sum(layers * 2 * heads * width * 4 for layers, heads, width in GROUPS)


class FakeKV:
    """Keys and values that say which prefix they belong to: the tensors of token i hold a number for tokens[:i+1],
    so that a piece in a wrong place is seen."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tuple(tokens)
        self.copied = 0

    def copy(self, start: int, stop: int) -> Piece:
        self.copied += stop - start
        marks = torch.tensor([mark(self.tokens[: i + 1]) for i in range(start, stop)])
        return tuple(
            marks[None, None, None, :, None].expand(layers, 2, heads, -1, width).clone()
            for layers, heads, width in GROUPS
        )


def mark(prefix: tuple[int, ...]) -> float:
    return float(hash(prefix) % 1_000_003)


def assert_right(tokens: Sequence[int], pieces: Sequence[Piece], length: int) -> None:
    expected = [mark(tuple(tokens[: i + 1])) for i in range(length)]
    for group, (layers, heads, width) in enumerate(GROUPS):
        if pieces:
            whole = torch.cat([piece[group] for piece in pieces], 3)
            assert whole.shape == (layers, 2, heads, length, width)
            assert torch.equal(whole, torch.tensor(expected)[None, None, None, :, None].expand_as(whole))
    assert pieces or not length


def put(cache: PrefixCache, tokens: Sequence[int]) -> FakeKV:
    kv = FakeKV(tokens)
    cache.insert(tokens, kv)
    return kv


def test_a_look_up_gives_the_longest_prefix_and_what_remains() -> None:
    cache = PrefixCache(10**6)
    put(cache, range(100))
    match = cache.lookup([*range(70), 7, 8])
    assert match.length == 70
    assert match.remaining == (7, 8)
    assert_right(range(100), match.pieces, 70)
    assert cache.lookup([5]).length == 0
    assert cache.lookup([]).length == 0


def test_namespaces_share_nothing_but_the_limit() -> None:
    cache = PrefixCache(TOKEN_BYTES * 150)
    kv = FakeKV(range(100))
    cache.insert(range(100), kv, "a")
    assert cache.lookup(range(100), "b").length == cache.lookup(range(100)).length == 0
    cache.insert(range(100), kv, "b")
    assert_right(range(100), cache.lookup(range(100), "b").pieces, 100)
    assert cache.lookup(range(100), "a").length < 100
    assert cache.nbytes <= cache.limit
    for name in "cdef":
        cache.insert(range(150), FakeKV(range(150)), name)
    assert cache.lookup(range(100), "a").length == 0
    assert len(cache) == 150


def test_a_shared_prefix_is_stored_once() -> None:
    cache = PrefixCache(10**6)
    put(cache, range(100))
    before = cache.nbytes
    kv = put(cache, [*range(90), 500, 501])
    assert kv.copied == 2
    assert cache.nbytes == before + 2 * TOKEN_BYTES
    assert put(cache, range(100)).copied == 0


def test_small_steps_do_not_make_small_nodes() -> None:
    cache = PrefixCache(10**6)
    for stop in range(1, 2 * SEGMENT + 2):
        assert put(cache, range(stop)).copied == 1
    match = cache.lookup(range(2 * SEGMENT + 1))
    assert match.length == 2 * SEGMENT + 1
    assert len(match.pieces) == 3


def test_the_least_recently_used_end_goes_first() -> None:
    cache = PrefixCache(TOKEN_BYTES * 3 * SEGMENT)
    put(cache, range(2 * SEGMENT))
    put(cache, range(1000, 1000 + SEGMENT))
    assert cache.evictions == 0
    put(cache, range(2000, 2000 + SEGMENT))
    assert cache.lookup(range(2 * SEGMENT)).length == SEGMENT, "of the oldest, its end"
    assert cache.lookup(range(1000, 1000 + SEGMENT)).length == SEGMENT
    assert cache.lookup(range(2000, 2000 + SEGMENT)).length == SEGMENT


def test_a_prompt_larger_than_the_cache_leaves_its_beginning() -> None:
    cache = PrefixCache(TOKEN_BYTES * (2 * SEGMENT + 10))
    put(cache, range(10 * SEGMENT))
    match = cache.lookup(range(10 * SEGMENT))
    assert match.length == 2 * SEGMENT
    assert_right(range(10 * SEGMENT), match.pieces, match.length)


def test_a_cache_without_room_for_one_token_holds_nothing() -> None:
    for limit in (1, TOKEN_BYTES - 1):
        cache = PrefixCache(limit)
        put(cache, range(10))
        assert (cache.nbytes, cache.lookup(range(10)).length) == (0, 0)


def test_two_documents_alternate_without_evicting_each_other() -> None:
    """Both fit: each keystroke finds all but the token it added, however long they take turns; what is evicted
    to make room is what neither ends in any more."""
    cache = PrefixCache(TOKEN_BYTES * 700)
    documents = {1: [1, *range(100, 300)], 2: [2, *range(100, 300)]}
    for turn in range(200):
        for name, tokens in documents.items():
            tokens.append(1000 * name + turn % 7)
            if len(tokens) > 300:
                del tokens[250:]
            match = cache.lookup(tokens)
            assert turn == 0 or match.length >= len(tokens) - 1
            put(cache, tokens)
    assert cache.evictions > 0


def test_clear_forgets_everything() -> None:
    cache = PrefixCache(10**6)
    put(cache, range(100))
    cache.clear()
    assert (len(cache), cache.nbytes, cache.lookup(range(100)).length) == (0, 0, 0)
    put(cache, range(100))
    assert cache.lookup(range(100)).length == 100


prompts = st.lists(st.integers(0, 2), max_size=12).map(tuple)
long_prompts = st.builds(
    lambda head, n, tail: (*head, *itertools.islice(itertools.cycle((0, 1, 2)), n), *tail),
    prompts,
    st.sampled_from([0, 5, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT]),
    prompts,
)
actions = st.lists(st.tuples(st.sampled_from(["insert", "lookup"]), long_prompts), max_size=40)


@settings(max_examples=150, deadline=None)
@given(actions=actions)
def test_with_room_it_holds_exactly_the_prefixes_that_were_put_in(
    actions: list[tuple[str, tuple[int, ...]]],
) -> None:
    cache = PrefixCache(10**9)
    held: set[tuple[int, ...]] = set()
    for action, tokens in actions:
        known = max((n for n in range(len(tokens) + 1) if not n or tokens[:n] in held), default=0)
        if action == "insert":
            assert put(cache, tokens).copied == len(tokens) - known
            held |= {tokens[: i + 1] for i in range(len(tokens))}
        match = cache.lookup(tokens)
        assert match.length == (len(tokens) if action == "insert" else known)
        assert match.remaining == tokens[match.length :]
        assert_right(tokens, match.pieces, match.length)
        assert len(cache) == len(held)
        assert cache.nbytes == len(held) * TOKEN_BYTES


@settings(max_examples=150, deadline=None)
@given(actions=actions, room=st.integers(0, 4 * SEGMENT))
def test_without_room_it_is_never_wrong_and_never_too_large(
    actions: list[tuple[str, tuple[int, ...]]], room: int
) -> None:
    cache = PrefixCache(room * TOKEN_BYTES)
    held: set[tuple[int, ...]] = set()
    for action, tokens in actions:
        if action == "insert":
            put(cache, tokens)
            held |= {tokens[: i + 1] for i in range(len(tokens))}
        match = cache.lookup(tokens)
        assert match.length == 0 or tokens[: match.length] in held
        assert_right(tokens, match.pieces, match.length)
        assert cache.nbytes == len(cache) * TOKEN_BYTES <= room * TOKEN_BYTES


def test_the_last_prompt_stays_whole_where_it_fits() -> None:
    cache = PrefixCache(TOKEN_BYTES * 5 * SEGMENT)
    for start in range(0, 3000, 37):
        tokens = [*range(40), *range(start, start + 3 * SEGMENT)]
        put(cache, tokens)
        assert cache.lookup(tokens).length == len(tokens)
