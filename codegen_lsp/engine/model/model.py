"""A causal language model in memory: tokens and a KV cache in, logits out.

The rest of the engine sees one narrow door, `Model.forward`, so that a quantized or compiled path can take its place
behind it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from codegen_lsp.engine.model.graphs.recorders import Recorder
from codegen_lsp.engine.model.kv import GrowingCache, KVCache
from codegen_lsp.engine.model.kv_layout import GROWTH, ROOM, Layout
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.networks.families import network_of
from codegen_lsp.engine.model.passes import Before, Pass, StepTimes, nothing_before
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.engine.read_ahead import ReadAhead
from codegen_lsp.wire.fill.formats import FillChoice

CHUNK = 256
"""Number of prompt tokens that a step reads on the processor: a keystroke waits for the running step."""

GPU_CHUNK = 2048
"""The same on a GPU, which waits for Python at each step, and for int8 weights that are dequantized."""


def prefill_chunk_on(device: torch.device) -> int:
    """Return the maximum number of prompt tokens that a step reads on a device, if none is configured."""
    return GPU_CHUNK if device.type == "cuda" else CHUNK


class Model:
    """A causal language model in memory."""

    def __init__(
        self,
        module: PreTrainedModel,
        vocabulary: Vocabulary,
        name: str,
        context: int,
        kv_dtype: torch.dtype | None = None,
    ) -> None:
        """Wrap a loaded module.

        Args:
            context: maximum number of tokens of prompt and completion together.
            kv_dtype: dtype of the KV cache, for networks of this engine; None for what the module computes.
        """
        self.module = module
        self.vocabulary = vocabulary
        self.name = name
        self.context = context
        self.tokenizer_file = ""
        self.step_times = StepTimes()
        self.fill: FillChoice | None = None
        """How it is asked to fill in the middle; None for a model without the tokens for that."""
        self.weights = str(module.dtype).removeprefix("torch.")
        """Number format of the weights: int8, int4 or the dtype."""
        self.weights_reason = ""
        self.records_steps = False
        """Whether steps of few tokens are recorded and replayed, as a GPU's are."""
        self.read_ahead: ReadAhead | None = None
        """What reads layers from disk ahead of their use, if some are there."""
        self.aliases = frozenset({name.lower()})
        self.input_device = _input_device(module)
        self.prefill_chunk = prefill_chunk_on(self.input_device)
        """Maximum number of prompt tokens that a step reads."""
        self._selects_logits = "logits_to_keep" in inspect.signature(module.forward).parameters
        self.layout = self._probe()
        self._network = network_of(module) if self.layout is not None else None
        if self.layout is not None and self._network is not None and kv_dtype is not None:
            self.layout = self.layout.in_dtype(kv_dtype)
        self.banned = torch.zeros(vocabulary.size, dtype=torch.bool)
        self.banned[vocabulary.without_text] = True

    @property
    def bytes_per_token(self) -> int:
        """Bytes of KV cache per token; 0 for architectures that keep more than keys and values."""
        return self.layout.bytes_per_token if self.layout is not None else 0

    def request_bytes(self, prompt: int, rows: int, more: int) -> int:
        """Return an upper bound of the bytes of keys and values of a running request.

        Args:
            prompt: number of tokens in the prompt.
            rows: number of rows.
            more: maximum number of tokens that each row decodes.
        """
        if self.layout is None:
            return 0
        decoded = min(more, max(0, self.context - prompt))
        if self.forks and rows > 1:
            tokens = prompt + ROOM + rows * _grown(min(more, ROOM), decoded)
        else:
            tokens = rows * _grown(prompt + ROOM, prompt + decoded) + (prompt if rows > 1 else 0)
        return tokens * self.layout.bytes_per_token

    @property
    def scored_chunk(self) -> int:
        """Maximum number of tokens of an echoed prompt that a step reads: the logits of all of them may be held."""
        return min(self.prefill_chunk, CHUNK)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.module.config.get_text_config().num_hidden_layers)

    @property
    def forks(self) -> bool:
        """Whether rows can share one prompt without copying it, and read several tokens at once."""
        return self._network is not None

    def record_steps(self, recorder: Recorder) -> bool:
        """Record steps of few tokens when they are first made, and replay them; return whether this model can."""
        if self._network is None or self.layout is None:
            return False
        self.records_steps = self._network.record_steps(self.layout, recorder)
        return self.records_steps

    def choose_threads(self, counts: Sequence[int]) -> None:
        """Let steps of few tokens take that one of some numbers of threads which is fastest at the moment."""
        if self._network is not None:
            self._network.choose_threads(counts)

    def compile_ahead(self, *, in_background: bool = True) -> None:
        """Make ready what prompts and steps of few tokens need: compile it, or record the smallest step now.

        Without this it happens when they are first made. Until kernels are ready, steps are computed without them.
        """
        if self.records_steps:
            self.forward(torch.tensor([[self.vocabulary.start]]), self.new_cache(1))
        elif self._network is not None and self.layout is not None:
            self._network.compile_ahead(self.layout.groups[0].dtype, in_background=in_background)

    def new_cache(self, room: int) -> KVStore:
        """Return an empty KV cache for one row, with room for `room` tokens."""
        if self.layout is None:
            return GrowingCache(self.module.config)
        return KVCache(self.layout, room)

    def part(self, kv: KVStore, rows: int, more: int) -> KVStore:
        """Return the cache with which `rows` rows continue the only row of `kv`, with room for `more` tokens each.

        `kv` must not change as long as that cache is used.
        """
        if rows == 1:
            kv.reserve(more)
            return kv
        return kv.fork(rows, more) if self.forks else kv.repeat(rows, more)

    @torch.inference_mode()
    def forward(self, tokens: torch.Tensor, kv: KVStore, keep: int | torch.Tensor = 1) -> torch.Tensor:
        """Read tokens at the end of `kv`, and add their keys and values to it.

        Args:
            tokens: ids (rows, t), with as many rows as the cache has.
            kv: grows by t tokens.
            keep: the number of last positions to return logits for, or the indices of the positions (of the t).

        Returns:
            logits (rows, kept, vocabulary) in float32 on the processor.
        """
        return self.forward_together([Pass(tokens, kv, keep)])[0]

    @torch.inference_mode()
    def forward_together(self, passes: Sequence[Pass], before: Before = nothing_before) -> list[torch.Tensor]:
        """Read the tokens of several requests, in one forward pass if this model's network can.

        Args:
            before: called just before kernels run, which leave Python to other threads.

        Returns:
            logits (rows, kept, vocabulary) for each pass, in float32 on the processor.
        """
        for part in passes:
            part.kv.reserve(part.new)
        started = time.perf_counter()
        if self._network is not None:
            results = [logits.float().cpu() for logits in self._network.logits(passes, before)]
        else:
            before()
            results = [self._logits(part) for part in passes]
        if len(passes) == passes[0].rows == 1:
            self.step_times.add(passes[0].new, time.perf_counter() - started)
        return results

    def likeliest(self, logits: torch.Tensor) -> tuple[list[int], list[float], list[float]]:
        """Find the likeliest token of each row of logits (rows, vocabulary).

        Those of tokens without text become minus infinity.

        Returns:
            tokens, their logits (not finite if one of the row's is not), and the logarithm of each row's sum of e^x.
        """
        if self._network is not None and self._network.has_kernels:
            from codegen_lsp.engine.quantized.likeliest import likeliest

            return likeliest(logits, self.banned)
        with torch.inference_mode():
            highest, tokens = logits.masked_fill_(self.banned, -torch.inf).max(-1)
            return tokens.tolist(), highest.tolist(), logits.logsumexp(-1).tolist()

    def _logits(self, part: Pass) -> torch.Tensor:
        """Read the tokens of one pass with the module of transformers."""
        arguments: dict[str, Any] = {"past_key_values": part.kv.cache, "use_cache": True}
        if self._selects_logits:
            arguments["logits_to_keep"] = part.keep
        logits: torch.Tensor = self.module(part.tokens.to(self.input_device), **arguments).logits
        if not self._selects_logits:
            logits = logits[:, part.kept()]
        return logits.float().cpu()

    @torch.inference_mode()
    def hidden_states(self, tokens: torch.Tensor, kv: KVStore, layer: int) -> torch.Tensor:
        """Read tokens as `forward` does, and return their features instead of their logits.

        Args:
            tokens: ids (rows, t).
            kv: grows by t tokens.
            layer: 0 is the output of the embedding table, n that of layer n; negative numbers count from the last.

        Returns:
            states (rows, t, width) in float32 on the processor.
        """
        kv.reserve(tokens.shape[1])
        if self._network is not None:
            return self._network.states(Pass(tokens, kv), layer).float().cpu()
        arguments = {"past_key_values": kv.cache, "use_cache": True, "output_hidden_states": True}
        output: Any = self.module.base_model(tokens.to(self.input_device), **arguments)
        states: torch.Tensor = output.hidden_states[layer]
        return states.float().cpu()

    @torch.inference_mode()
    def _probe(self) -> Layout | None:
        """Read one token, to learn the layout of the KV cache and the devices it is on."""
        cache = DynamicCache(config=self.module.config)
        token = torch.tensor([[self.vocabulary.start]], device=self.input_device)
        self.module(token, past_key_values=cache, use_cache=True)
        return Layout.of(cache)


def _input_device(module: PreTrainedModel) -> torch.device:
    """Return the device of the embeddings or, if these wait on disk, the one that they are brought to for use."""
    embeddings: Any = module.get_input_embeddings()
    device: torch.device = embeddings.weight.device
    return torch.device(embeddings._hf_hook.execution_device) if device.type == "meta" else device


def _grown(room: int, tokens: int) -> int:
    """Return the tokens for which a buffer with this room takes memory at most, once it holds `tokens`.

    A buffer that is full grows by a quarter or more, and is copied: then there are two of them.
    """
    return room if tokens <= room else 2 * (tokens + tokens // 4 + GROWTH)
