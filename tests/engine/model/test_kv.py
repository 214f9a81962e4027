from __future__ import annotations

import gc
import weakref

import torch
from transformers import DynamicCache

from codegen_lsp.engine.model.kv import KVCache
from codegen_lsp.engine.model.kv_layout import GROWTH, Group, Layout
from codegen_lsp.engine.model.model import Model

CPU = torch.device("cpu")
LAYOUT = Layout((Group(2, 3, 4, torch.float32, CPU), Group(1, 2, 8, torch.float32, CPU)))


def states(rows: int, tokens: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """New keys and values for each of the three layers."""
    kinds = [(3, 4), (3, 4), (2, 8)]
    return [(torch.randn(rows, h, tokens, w), torch.randn(rows, h, tokens, w)) for h, w in kinds]


@torch.inference_mode()
def feed(kv: KVCache | DynamicCache, new: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    if isinstance(kv, KVCache):
        kv.reserve(new[0][0].shape[2])
    return [part for i, (k, v) in enumerate(new) for part in kv.update(k, v, i)]


def assert_same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_it_gives_what_the_cache_of_transformers_gives() -> None:
    torch.manual_seed(0)
    ours, theirs = KVCache(LAYOUT, 3), DynamicCache()
    for tokens in (5, 1, GROWTH + 1, 1, 2):
        new = states(1, tokens)
        assert ours.get_mask_sizes(tokens, 0) == theirs.get_mask_sizes(tokens, 0)
        assert_same(feed(ours, new), feed(theirs, new))
        assert ours.length == ours.get_seq_length() == theirs.get_seq_length()


def test_rows_part_and_leave() -> None:
    torch.manual_seed(1)
    ours, theirs = KVCache(LAYOUT, 2), DynamicCache()
    new = states(1, 6)
    feed(ours, new)
    feed(theirs, new)
    ours = ours.repeat(4, 3)
    theirs.batch_repeat_interleave(4)
    for keep in ([0, 1, 2, 3], [1, 3], [0, 1], [1]):
        ours.keep(keep)
        theirs.batch_select_indices(torch.tensor(keep))
        new = states(len(keep), 1)
        assert_same(feed(ours, new), feed(theirs, new))


def test_pieces_that_are_cut_out_and_put_in_again_are_the_same() -> None:
    torch.manual_seed(2)
    kv = KVCache(LAYOUT, 10)
    feed(kv, states(1, 9))
    other = KVCache(LAYOUT, 1)
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        other.append(kv.copy(start, stop))
    new = states(1, 1)
    assert_same(feed(kv, new), feed(other, new))


def test_a_piece_has_memory_of_its_own() -> None:
    kv = KVCache(LAYOUT, 10)
    feed(kv, states(1, 4))
    piece = kv.copy(1, 3)
    before = [part.clone() for part in piece]
    kv.crop(0)
    feed(kv, states(1, 4))
    assert_same(list(piece), before)
    assert sum(part.untyped_storage().nbytes() for part in piece) == 2 * LAYOUT.bytes_per_token


def test_crop_forgets_the_end() -> None:
    kv = KVCache(LAYOUT, 10)
    feed(kv, states(1, 6))
    kv.crop(-2)
    assert kv.length == 4
    kv.crop(1)
    assert kv.length == kv.get_seq_length() == 1


def test_decoding_writes_in_place(tiny: Model) -> None:
    """A step copies none of the context: the buffers stay where they are."""
    assert tiny.layout is not None
    kv = tiny.new_cache(64)
    assert isinstance(kv, KVCache)
    tiny.forward(torch.tensor([[1, 2, 3]]), kv)
    where = kv.layers[0].keys.data_ptr()
    for _ in range(40):
        tiny.forward(torch.tensor([[5]]), kv)
    assert kv.layers[0].keys.data_ptr() == where
    assert kv.nbytes == 64 * tiny.layout.bytes_per_token


def test_the_buffers_go_with_the_request_that_had_them(tiny: Model) -> None:
    # A cycle of references would keep megabytes a request until the collector's next full run.
    gc.collect()
    gc.disable()
    try:
        kv = tiny.new_cache(64)
        tiny.forward(torch.tensor([[1, 2, 3]]), kv)
        gone = weakref.ref(kv)
        del kv
        assert gone() is None
    finally:
        gc.enable()
