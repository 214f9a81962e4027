"""A forward pass as one program of compiled kernels, so that a step leaves Python once.

Made for models on the processor with quantized weights, and for small ones that were trained in bfloat16; the network's
other path computes everything else, and the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch

from codegen_lsp.engine.memory import release_libraries
from codegen_lsp.engine.model.compiled.parts import StepParts
from codegen_lsp.engine.model.compiled.pass_arguments import PassKind
from codegen_lsp.engine.model.compiled.program import StepProgram
from codegen_lsp.engine.model.compiled.threads import ThreadChoice
from codegen_lsp.engine.model.passes import Before, Pass, kept_indices, split_logits
from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.product_kernels import vectors
from codegen_lsp.engine.quantized.program import runner

PROGRAMS = 32
"""Number of programs that are kept: one for each arrangement of tokens in requests."""


NewProgram = Callable[[Sequence[PassKind], int], StepProgram]
"""Makes a program of requests of some kinds, and the number of tokens that need logits."""


class CompiledStep:
    """The forward pass of one model: steps, and prompts if kernels read them."""

    def __init__(self, parts: StepParts, make_program: NewProgram) -> None:
        """Compute with the parts of a model, and with programs for its family."""
        self._parts = parts
        self._make_program = make_program
        self._program = lru_cache(PROGRAMS)(self._new_program)
        self._is_compiling = False

    def takes(self, passes: Sequence[Pass]) -> bool:
        """Return whether kernels compute these passes: not while they are being compiled just now."""
        if self._is_compiling:
            return False
        tokens = sum(part.rows * part.new for part in passes)
        if tokens <= FEW_ROWS:
            return True
        return all(self._parts.reads_prompts(tokens, is_half=_is_half(part)) for part in passes)

    def choose_threads(self, counts: Sequence[int]) -> None:
        """Let steps take that one of some numbers of threads which is fastest at the moment."""
        self._parts.threads = ThreadChoice(counts)

    def compile_ahead(self, *, is_half: bool, in_background: bool) -> None:
        """Compile what prompts and most steps need.

        Args:
            is_half: whether keys and values are in bfloat16.
            in_background: whether to return at once.
        """
        self._is_compiling = True
        if not in_background:
            self._compile(is_half)
            return
        # No daemon: a process must not end in the middle of a kernel.
        threading.Thread(target=self._compile, args=(is_half,), name="kernels").start()

    def _compile(self, is_half: bool) -> None:
        try:
            runner()
            for tokens in range(1, vectors.largest_tile()[0] + 1):
                if not threading.main_thread().is_alive():
                    break
                self._program(((1, tokens, is_half),), 1, self._parts.threads.most)
            self._parts.prepare_prompts(is_half=is_half)
        finally:
            self._is_compiling = False
            release_libraries()

    def logits(self, passes: Sequence[Pass], before: Before) -> list[torch.Tensor]:
        """Read tokens as `Network` says, with `before` called just before the kernels run."""
        kept = kept_indices(passes)
        kinds = tuple((part.rows, part.new, _is_half(part)) for part in passes)
        program = self._program(kinds, len(kept), self._parts.threads.most)
        outputs = program.run(passes, kept, before)
        for part in passes:
            layers: list[Any] = part.kv.cache.layers
            for layer in layers:
                layer.length += part.new
        return split_logits(outputs, passes)

    def _new_program(self, kinds: tuple[PassKind, ...], kept: int, _: int) -> StepProgram:
        return self._make_program(kinds, kept)


def _is_half(part: Pass) -> bool:
    layers: list[Any] = part.kv.cache.layers
    is_half: bool = layers[0].pair.dtype == torch.bfloat16
    return is_half
