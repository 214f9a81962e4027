"""The place of the one model: empty, loading, ready, or failed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import codegen_lsp
from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from codegen_lsp.engine.libraries import import_libraries
from codegen_lsp.engine.memory import free_memory, is_out_of_memory, release_libraries, release_memory
from codegen_lsp.wire.answers import Health
from codegen_lsp.wire.config import EngineConfig, option
from codegen_lsp.wire.errors import CodegenError

if TYPE_CHECKING:
    from codegen_lsp.engine.model.model import Model
    from codegen_lsp.engine.model.prefix_cache import PrefixCache

log = logging.getLogger(__name__)

MIN_KV_BUDGET = 64 * 2**20
"""Bytes that running requests may hold on a machine whose memory is almost full: some requests of few tokens."""


class ModelSlot:
    """Loads and unloads the model and its prefix cache, and keeps the health up to date.

    Only the worker's thread may load and unload; any thread may read.
    """

    def __init__(self, config: EngineConfig, checkpoint: Checkpoint, closing: Callable[[], bool]) -> None:
        """Start empty; a load is abandoned once `closing` returns true."""
        self.config = config
        self.checkpoint = checkpoint
        self.model: Model | None = None
        self.cache: PrefixCache | None = None
        self.health = Health(
            "loading",
            checkpoint.name,
            f"loading {checkpoint.name}",
            pid=os.getpid(),
            version=codegen_lsp.__version__,
        )
        self.settled = time.monotonic()
        """When the last load ended, successfully or not: the engine could not be used before."""
        self.kv_budget = 0
        """Bytes of keys and values that running requests may hold together."""
        self._closing = closing

    def load(self) -> None:
        """Load the model; a failure becomes the state `error`."""
        name = self.checkpoint.name
        self.health = replace(self.health, state="loading", message=f"loading {name}", done=0, total=0)
        started = time.perf_counter()
        try:
            # Problems with the files are reported before seconds go into importing torch.
            folder = locate.locate(
                self.checkpoint, allow_pickle=self.config.allow_pickle, progress=self._report
            )
            import_libraries()
            from codegen_lsp.engine.fill.choice import choose
            from codegen_lsp.engine.model.loading import load

            model = load(self.config, self.checkpoint, self._report)
            model.compile_ahead()
            model.fill = choose(model, self.config, folder)
            self._set(model)
            release_libraries()
        except Exception as error:
            self.settled = time.monotonic()
            self.health = replace(self.health, state="error", message=self._failure(error))
            log.error("%s", self.health.message, exc_info=not isinstance(error, CodegenError))
            return
        log.info("%s after %.1f s", self.health.message, time.perf_counter() - started)

    def _set(self, model: Model) -> None:
        from codegen_lsp.engine.model.prefix_cache import PrefixCache, usual_limit

        self.model = model
        limit = self.config.prefix_cache
        if limit is None:
            limit = usual_limit(model.context, model.bytes_per_token)
        self.cache = PrefixCache(limit) if limit and model.layout is not None else None
        # The prefix cache is not full yet: what it may still take is not free.
        free = free_memory(model.input_device) - (self.cache.limit if self.cache else 0)
        self.kv_budget = self.config.request_memory or max(MIN_KV_BUDGET, free // 2)
        if model.layout is None:
            log.warning("%s keeps more than keys and values: there is no prefix cache for it", model.name)
        self.settled = time.monotonic()
        log.info("the weights are in %s: %s", model.weights, model.weights_reason)
        message = f"{model.name} is ready"
        self.health = replace(
            self.health, state="ready", message=message, model=model.name, weights=model.weights
        )

    def unload(self) -> None:
        """Free the model and its prefix cache."""
        self.model = self.cache = None
        release_memory()
        message = "the model is unloaded; the next request loads it again"
        self.health = replace(self.health, state="unloaded", message=message, done=0, total=0, weights="")
        log.info("%s", message)

    def free_cache(self) -> None:
        """Drop everything in the prefix cache."""
        if self.cache is not None:
            self.cache.clear()
        release_memory()

    def _failure(self, error: Exception) -> str:
        name = self.checkpoint.name
        if isinstance(error, CodegenError):
            return str(error)
        if is_out_of_memory(error):
            return (
                f"{name} does not fit into memory; use a smaller model, or limit it with "
                f"{option('max-memory')} and {option('offload-folder')}"
            )
        return f"{name} could not be loaded: {type(error).__name__}: {str(error)[:300]}"

    def _report(self, what: str, done: int, total: int) -> None:
        if self._closing():
            raise CheckpointError("the engine is stopping")
        self.health = replace(self.health, message=f"{what} ({self.checkpoint.name})", done=done, total=total)
