"""Other engines with the same weights, as they are measured. Each imports its library when it is made."""

from __future__ import annotations

import importlib
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.evals.benchmarks.speed.ours import bits_of, milliseconds
from codegen_lsp.wire.config import EngineConfig


class Transformers:
    """The forward pass of transformers, with its own cache."""

    def __init__(self, specification: dict[str, Any]) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(specification["threads"] or os.cpu_count() or 1)
        folder = locate.locate(locate.of(EngineConfig(model=specification["model"])))
        loader: Any = AutoModelForCausalLM
        self._model: Any = loader.from_pretrained(
            folder, dtype=getattr(torch, specification["format"]), local_files_only=True
        ).eval()
        self._text: list[int] = specification["text"]
        self._steps: int = specification["steps"]
        self.weight_bytes = sum(weight.nbytes for weight in self._model.parameters())

    @torch.inference_mode()
    def decode(self, tokens: int, rows: int = 1) -> float:
        """Return the median time of a step."""
        cache = self._read(tokens)
        if rows > 1:
            cache.batch_repeat_interleave(rows)
        step = torch.tensor([[self._text[tokens]]] * rows)
        call = lambda: self._model(step, past_key_values=cache, use_cache=True).logits.argmax(-1)  # noqa: E731
        return statistics.median([milliseconds(call) for _ in range(self._steps)])

    @torch.inference_mode()
    def prefill(self, tokens: int) -> float:
        """Return the time to read a prompt at once."""
        return milliseconds(lambda: self._read(tokens))

    def keystroke(self, tokens: int) -> None:
        """Return None: it keeps no prompts."""

    @torch.inference_mode()
    def bits(self, count: int) -> float:
        """Return the bits of the first tokens after the first one."""
        return bits_of(self._model(torch.tensor([self._text[:count]])).logits[0], self._text[:count])

    def _read(self, tokens: int) -> Any:
        prompt = torch.tensor([self._text[:tokens]])
        return self._model(prompt, use_cache=True, logits_to_keep=1).past_key_values


class LlamaCpp:
    """llama.cpp with the weights as a GGUF file, which is written once."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self._library: Any = importlib.import_module("llama_cpp")
        file = _gguf_file(specification)
        threads = specification["threads"] or os.cpu_count() or 1
        self._options = {"n_threads": threads, "n_threads_batch": threads, "verbose": False}
        self._file = file
        self._text: list[int] = specification["text"]
        self._steps: int = specification["steps"]
        self._llama: Any = self._library.Llama(str(file), n_ctx=specification["context"], **self._options)
        self.weight_bytes = file.stat().st_size

    def decode(self, tokens: int, rows: int = 1) -> float | None:
        """Return the median time of a step; its Python package decodes one row."""
        if rows > 1:
            return None
        self._read(tokens)
        return statistics.median([self._step(tokens) for _ in range(self._steps)])

    def prefill(self, tokens: int) -> float:
        """Return the time to read a prompt."""
        return milliseconds(lambda: self._read(tokens))

    def keystroke(self, tokens: int) -> float:
        """Return the time to read one more token after a prompt that it has read."""
        self._read(tokens - 1)
        return self._step(tokens - 1)

    def bits(self, count: int) -> float:
        """Return the bits of the first tokens after the first one."""
        llama: Any = self._library.Llama(str(self._file), n_ctx=count, logits_all=True, **self._options)
        try:
            llama.eval(self._text[:count])
            return bits_of(torch.from_numpy(llama.scores[:count].copy()), self._text[:count])
        finally:
            llama.close()

    def _read(self, tokens: int) -> None:
        self._llama.reset()
        self._llama.eval(self._text[:tokens])

    def _step(self, tokens: int) -> float:
        self._llama.n_tokens = tokens
        return milliseconds(lambda: self._llama.eval(self._text[tokens : tokens + 1]))


class CTranslate2:
    """CTranslate2 with converted weights; times of steps are differences of whole generations."""

    def __init__(self, specification: dict[str, Any]) -> None:
        from transformers import AutoTokenizer

        ctranslate2: Any = importlib.import_module("ctranslate2")
        source = locate.locate(locate.of(EngineConfig(model=specification["model"])))
        folder = Path(specification["folder"]) / f"ctranslate2-{specification['format']}"
        if not (folder / "model.bin").exists():
            converter = ctranslate2.converters.TransformersConverter(str(source))
            converter.convert(str(folder), quantization=specification["format"], force=True)
        threads = specification["threads"] or os.cpu_count() or 1
        self._generator = ctranslate2.Generator(str(folder), device="cpu", intra_threads=threads)
        tokenizer: Any = AutoTokenizer.from_pretrained(source, local_files_only=True)
        self._tokens: list[str] = tokenizer.convert_ids_to_tokens(specification["text"])
        self._steps: int = specification["steps"]
        self.weight_bytes = (folder / "model.bin").stat().st_size

    def decode(self, tokens: int, rows: int = 1) -> float:
        """Return the time of a step."""
        first, whole = (self._generate(tokens, rows, steps) for steps in (1, 1 + self._steps))
        return max(0.0, whole - first) / self._steps

    def prefill(self, tokens: int) -> float:
        """Return the time of the first token."""
        return self._generate(tokens, 1, 1)

    def keystroke(self, tokens: int) -> None:
        """Return None: it keeps no prompts."""

    def bits(self, count: int) -> float:
        """Return the bits of the first tokens after the first one."""
        scores = self._generator.score_batch([self._tokens[:count]])[0].log_probs
        return -float(torch.tensor(scores).sum() / torch.log(torch.tensor(2.0)))

    def _generate(self, tokens: int, rows: int, steps: int) -> float:
        prompts = [self._tokens[:tokens]] * rows
        options = {"max_length": steps, "min_length": steps, "include_prompt_in_result": False}
        return milliseconds(lambda: self._generator.generate_batch(prompts, **options))


def _gguf_file(specification: dict[str, Any]) -> Path:
    """Return the file with the model in the number format of the specification, written if it is missing."""
    from codegen_lsp.engine.export.as_phi import open_source
    from codegen_lsp.engine.export.gguf_file import export_gguf

    folder = Path(specification["folder"])
    file = folder / f"{specification['format']}.gguf"
    if not file.exists():
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            export_gguf(
                open_source(locate.of(EngineConfig(model=specification["model"]))),
                Path(partial) / file.name,
                specification["format"],
            )
            (Path(partial) / file.name).rename(file)
    return file
