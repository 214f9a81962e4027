"""Other engines with the same weights, as they are measured. Each imports its library when it is made."""

from __future__ import annotations

import ctypes
import importlib
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint
from codegen_lsp.evals.benchmarks.speed.ours import bits_of, milliseconds, threads_of
from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.wire.config import EngineConfig


class Transformers:
    """The forward pass of transformers, with its own cache."""

    def __init__(self, specification: dict[str, Any]) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads_of(specification))
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
        threads = threads_of(specification)
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
        threads = threads_of(specification)
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


class OpenVINO:
    """OpenVINO GenAI, which reads GGUF files of a few families, with the prompts that it keeps."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self._library: Any = importlib.import_module("openvino_genai")
        self._tensor: Any = importlib.import_module("openvino").Tensor
        file = _gguf_file(specification)
        threads = threads_of(specification)
        self._pipeline: Any = self._library.LLMPipeline(str(file), "CPU", INFERENCE_NUM_THREADS=threads)
        self._text: list[int] = specification["text"]
        self._steps: int = specification["steps"]
        self._prompts = 0
        self.weight_bytes = file.stat().st_size

    def decode(self, tokens: int, rows: int = 1) -> float | None:
        """Return the mean time of a step; rows are measured with the other engines only."""
        if rows > 1:
            return None
        metrics = self._generate(self._text[:tokens], 1 + self._steps).perf_metrics
        return float(metrics.get_tpot().mean)

    def prefill(self, tokens: int) -> float:
        """Return the time to the first token after a prompt whose beginning is new."""
        self._prompts += 1
        prompt = [self._text[self._prompts], *self._text[1:tokens]]
        return milliseconds(lambda: self._generate(prompt, 1))

    def keystroke(self, tokens: int) -> float:
        """Return the time to the first token after a prompt that it has read but for the last token."""
        self._generate(self._text[: tokens - 1], 1)
        return milliseconds(lambda: self._generate(self._text[:tokens], 1))

    def bits(self, count: int) -> None:
        """Return None: it returns no probabilities of a text."""

    def _generate(self, prompt: list[int], tokens: int) -> Any:
        """Return the result of `tokens` greedy tokens after a prompt."""
        config = self._library.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = tokens
        config.ignore_eos, config.do_sample = True, False
        ids = torch.tensor([prompt])
        inputs = self._library.TokenizedInputs(
            self._tensor(ids.numpy()), self._tensor(torch.ones_like(ids).numpy())
        )
        return self._pipeline.generate(inputs, config)


def _gguf_file(specification: dict[str, Any]) -> Path:
    """Return the file with the model in the number format of the specification, written if it is missing."""
    folder, number_format = Path(specification["folder"]), specification["format"]
    file = folder / f"{number_format}.gguf"
    if not file.exists():
        source = locate.of(EngineConfig(model=specification["model"]))
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            written = Path(partial) / file.name
            if source.kind == "gguf":
                _requantize(Path(source.source), written, number_format)
            else:
                _export(source, written, number_format)
            written.rename(file)
    return file


def _export(source: Checkpoint, file: Path, number_format: str) -> None:
    """Write a CodeGen model as a GGUF file."""
    from codegen_lsp.engine.export.as_phi import open_source
    from codegen_lsp.engine.export.gguf_file import export_gguf

    export_gguf(open_source(source), file, number_format)


def _requantize(source: Path, file: Path, number_format: str) -> None:
    """Write a GGUF file in another number format, with llama.cpp."""
    library: Any = importlib.import_module("llama_cpp")
    options = library.llama_model_quantize_default_params()
    options.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{number_format.upper()}")
    options.allow_requantize = True
    if library.llama_model_quantize(os.fsencode(source), os.fsencode(file), ctypes.byref(options)):
        raise EvaluationError(f"llama.cpp can't write {source.name} as {number_format}")
