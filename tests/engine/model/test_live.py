"""Buffers of recent prompts are continued in place, shared while they are lent, and counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_forked import ForkedCache
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.live import MAX_BUFFERS
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.prefix_cache import PrefixCache

LARGE = 2**28


def read(model: Model, cache: PrefixCache, tokens: Sequence[int], room: int = 200) -> KVStore:
    """Read a prompt as a request does, and keep the buffer."""
    kv = cache.restore(tokens[:-1], room, "", model)
    model.forward(torch.tensor([tokens[kv.length :]]), kv)
    cache.remember(tokens, kv, "")
    return kv


def place(kv: KVStore) -> int:
    assert isinstance(kv, KVCache)
    return int(kv.shared_layers(1)[0][0].data_ptr())


def test_the_next_prompt_of_a_document_is_read_in_place(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    kv = read(tiny, cache, range(1, 101))
    cache.release(kv)
    again = cache.restore([*range(1, 91), 7, 8], 200, "", tiny)
    assert (place(again), again.length) == (place(kv), 90)


def test_what_a_buffer_lacks_comes_out_of_the_tree(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    for tokens in (range(1, 101), [*range(1, 51), 7, 8]):
        cache.release(read(tiny, cache, tokens))
    again = cache.restore(range(1, 101), 200, "", tiny)
    assert again.length == 100
    fresh = read(tiny, PrefixCache(LARGE), range(1, 101))
    for kept, expected in zip(again.copy(0, 100), fresh.copy(0, 100), strict=True):
        assert torch.allclose(kept, expected, atol=1e-5)


def test_documents_by_turns_have_a_buffer_each(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    places = set()
    for _ in range(3):
        for start in (1, 200):
            kv = read(tiny, cache, range(start, start + 100))
            places.add(place(kv))
            cache.release(kv)
    assert len(places) == len(cache.live) == 2


def test_a_buffer_that_is_written_into_is_shared_and_not_cropped(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    writer = read(tiny, cache, range(1, 101))
    shared = cache.restore([*range(1, 91), 7], 200, "", tiny)
    assert isinstance(shared, ForkedCache)
    assert (shared.length, writer.length) == (90, 100)
    logits = tiny.forward(torch.tensor([[7, 8]]), shared)
    cache.release(writer)
    # The shared part stays although the next request differs before its end.
    third = cache.restore([*range(1, 71), 9], 200, "", tiny)
    assert isinstance(third, ForkedCache)
    alone = read(tiny, PrefixCache(LARGE), [*range(1, 91), 7, 8])
    for kept, expected in zip(shared.copy(0, 92), alone.copy(0, 92), strict=True):
        assert torch.allclose(kept, expected, atol=1e-4)
    assert torch.isfinite(logits).all()
    cache.release(shared)
    cache.release(third)
    fourth = cache.restore([*range(1, 71), 9], 200, "", tiny)
    assert place(fourth) == place(writer)


def test_namespaces_do_not_share_buffers(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    cache.release(read(tiny, cache, range(1, 101)))
    assert cache.restore(range(1, 101), 200, "another", tiny).length == 0


def test_buffers_count_against_the_limit_once_no_request_uses_them(tiny: Model) -> None:
    token = tiny.bytes_per_token
    cache = PrefixCache(1000 * token)
    kv = read(tiny, cache, range(1, 101))
    assert cache.nbytes == 100 * token
    cache.release(kv)
    assert cache.nbytes == (100 + 200) * token
    for start in range(0, 500, 20):
        cache.release(read(tiny, cache, range(start + 1, start + 91)))
        assert cache.nbytes <= cache.limit
        assert cache.live.nbytes <= cache.limit // 2
    cache.clear()
    assert (cache.nbytes, len(cache.live)) == (0, 0)


def test_a_buffer_larger_than_its_share_goes_with_its_request(tiny: Model) -> None:
    cache = PrefixCache(300 * tiny.bytes_per_token)
    cache.release(read(tiny, cache, range(1, 101)))
    assert (len(cache.live), cache.nbytes) == (0, 100 * tiny.bytes_per_token)


def test_the_number_of_buffers_is_limited_and_the_oldest_memory_is_used_again(tiny: Model) -> None:
    cache = PrefixCache(LARGE)
    first = place(kv := read(tiny, cache, range(1, 101)))
    cache.release(kv)
    for number in range(2, MAX_BUFFERS + 2):
        kv = read(tiny, cache, [number * 10, *range(1, 100)])
        cache.release(kv)
    assert len(cache.live) == MAX_BUFFERS
    assert place(kv) == first


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_leave_the_buffer_to_the_document(tiny: Model, rows: int) -> None:
    """Candidates share the buffer; those of one row are decoded into it."""
    cache = PrefixCache(LARGE)
    kv = read(tiny, cache, range(1, 101))
    parted = tiny.part(kv, rows, 8)
    assert (parted is kv) == (rows == 1)
    tiny.forward(torch.full((rows, 1), 5), parted)
    cache.remember([*range(1, 101), 5], parted, "")
    cache.release(kv)
    again = cache.restore([*range(1, 101), 5, 6], 200, "", tiny)
    assert (place(again), again.length) == (place(kv), 101)
