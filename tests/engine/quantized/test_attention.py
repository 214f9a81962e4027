"""The attention kernel computes what matrix products, a mask and a softmax do."""

from __future__ import annotations

import pytest
import torch

from codegen_lsp.engine.quantized import attention
from codegen_lsp.engine.quantized.attention_kernels import prompts

HEADS, ROOM = 6, 150


@pytest.fixture(autouse=True)
def prepared() -> None:
    for width in (16, 64, 80, 256):
        for is_half in (True, False):
            prompts.prepare(width, is_half=is_half)


def buffers(rows: int, length: int, width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (rows, heads, length, width) as a KV cache holds them: views of a buffer with more room."""
    buffer = torch.randn(2, rows + 1, HEADS, ROOM, width).to(dtype)
    return buffer[0, :rows, :, :length], buffer[1, :rows, :, :length]


def plain(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    new = queries.shape[2]
    scores = queries @ keys.float().transpose(-1, -2)
    future = torch.ones(new, new, dtype=torch.bool).triu_(1)
    scores[..., -new:].masked_fill_(future, -torch.inf)
    return scores.softmax(-1) @ values.float()


SHAPES = ((1, 1, 1), (1, 1, 100), (1, 2, 2), (3, 5, 77), (2, 16, 140), (1, 8, 64), (4, 1, 30))
"""Rows, new tokens of each, and positions in all."""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("width", [16, 64, 80])
def test_any_number_of_new_tokens(width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(width)
    for rows, new, length in SHAPES:
        keys, values = buffers(rows, length, width, dtype)
        for size in (0.1, 3.0):
            queries = torch.randn(rows, HEADS, new, width) * size / width**0.5
            mixed = attention.attend(queries, keys, values)
            assert mixed is not None
            assert torch.allclose(mixed, plain(queries, keys, values), rtol=1e-4, atol=1e-4)


PROMPTS = ((1, 17, 17), (1, 64, 64), (2, 100, 140), (1, 37, 149), (3, 20, 77), (1, 150, 150), (1, 1, 65))
"""As `SHAPES`: those that fill no tile and no block of keys too."""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("width", [16, 64, 80])
@pytest.mark.parametrize("sharing", [1, 3])
def test_prompts_of_any_length(sharing: int, width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(width)
    threads = torch.get_num_threads()
    try:
        for count, (rows, new, length) in zip((1, 2, 3, 7, 1, 2, 2), PROMPTS, strict=True):
            torch.set_num_threads(count)
            keys, values = (part[:, : HEADS // sharing] for part in buffers(rows, length, width, dtype))
            # Tokens before heads, as projections give them.
            queries = torch.randn(rows, new, HEADS, width).transpose(1, 2) * 3 / width**0.5
            mixed = attention.attend(queries, keys, values)
            assert mixed is not None
            whole = [part.repeat_interleave(sharing, 1) for part in (keys, values)]
            assert torch.allclose(mixed, plain(queries, *whole), rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("prompt", [1, 45, 128])
def test_rows_that_share_a_prompt(prompt: int, dtype: torch.dtype) -> None:
    torch.manual_seed(prompt)
    for rows, new, length in (*SHAPES, (3, 20, 20), (2, 70, 75)):
        shared_keys, shared_values = buffers(1, prompt, 256, dtype)
        keys, values = buffers(rows, length, 256, dtype)
        queries = torch.randn(rows, HEADS, new, 256) / 16
        mixed = attention.attend_forked(queries, (shared_keys[0], shared_values[0]), (keys, values))
        assert mixed is not None
        all_keys = torch.cat([shared_keys.expand(rows, -1, -1, -1), keys], 2)
        all_values = torch.cat([shared_values.expand(rows, -1, -1, -1), values], 2)
        assert torch.allclose(mixed, plain(queries, all_keys, all_values), rtol=1e-4, atol=1e-4)


def test_scores_that_are_far_apart() -> None:
    keys, values = buffers(1, 60, 64, torch.float32)
    for new in (3, 50):
        queries = 100 * torch.randn(1, HEADS, new, 64)
        mixed = attention.attend(queries, keys, values)
        assert mixed is not None
        assert torch.allclose(mixed, plain(queries, keys, values), rtol=1e-3, atol=1e-3)


def test_what_the_kernel_is_not_made_for_is_refused() -> None:
    keys, values = buffers(2, 60, 64, torch.bfloat16)
    queries = torch.randn(2, HEADS, 2, 64)
    assert attention.attend(queries, keys, values) is not None
    assert attention.attend(queries, keys.half(), values.half()) is None
    assert attention.attend(torch.randn(2, HEADS, 2, 7), keys[..., :7], values[..., :7]) is None
    wide = torch.randn(2, HEADS, 64, 60).transpose(2, 3)
    assert attention.attend(queries, wide, wide) is None


def test_a_prompt_does_not_wait_for_its_kernel_to_be_compiled() -> None:
    # A width of whole vectors on every processor, which no other test prepares.
    keys, values = buffers(1, 60, 112, torch.bfloat16)
    queries = torch.randn(1, HEADS, 20, 112)
    assert attention.attend(queries, keys, values) is None
    prompts.prepare(112, is_half=True)
    assert attention.attend(queries, keys, values) is not None
