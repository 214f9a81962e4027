"""Write a CodeGen checkpoint as a GGUF file, which llama.cpp, Ollama and LM Studio load as `phi2`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.checkpoints.shards import PlannedTensor, ReportBytes, check_space
from codegen_lsp.engine.export.as_phi import CodeGenSource, phi_tensors
from codegen_lsp.engine.export.gguf_tokenizer import GgufTokenizer, gguf_tokenizer

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

OUTER = {
    "model.embed_tokens": "token_embd",
    "model.final_layernorm": "output_norm",
    "lm_head": "output",
}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.dense": "attn_output",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
"""llama.cpp's names of Phi's modules: those of a layer, and the others."""


def export_gguf(
    source: CodeGenSource, path: Path, quantize: str = "f16", report: ReportBytes | None = None
) -> str:
    """Write the weights and the tokenizer into a new file; vectors stay in float32.

    At q4_0 the embeddings and the head are written as q8_0: their errors would reach the text directly.

    Returns:
        how llama.cpp's tokens differ from the tokenizer's; an empty string if they don't.

    Raises:
        CheckpointError: the file exists or can't be written, the disk is too small, or the checkpoint is damaged.
    """
    from gguf import GGUFWriter

    tokenizer = gguf_tokenizer(source.tokenizer, source.vocabulary)
    tensors = {tensor: _kind(tensor, quantize) for tensor in phi_tensors(source)}
    total = sum(_bytes(tensor, kind) for tensor, kind in tensors.items())
    unfinished = _prepare(path, total, source.name)
    writer = GGUFWriter(unfinished, "phi2")
    try:
        _describe(writer, source, tokenizer, quantize)
        _write(writer, tensors, unfinished, total, report)
        writer.close()
        unfinished.rename(path)
    finally:
        with contextlib.suppress(OSError):
            writer.close()
        unfinished.unlink(missing_ok=True)
    return tokenizer.note


def _prepare(path: Path, total: int, name: str) -> Path:
    """Check that a file can be written; return the path under which it grows until it is whole."""
    if path.exists():
        raise CheckpointError(f"{path} exists; name a new file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.touch()
    except OSError as error:
        raise CheckpointError(f"{path} can't be written to: {error.strerror}") from error
    try:
        check_space(path.parent, total, f"{name} as a GGUF file")
    except CheckpointError:
        unfinished.unlink()
        raise
    return unfinished


def _describe(writer: GGUFWriter, source: CodeGenSource, tokenizer: GgufTokenizer, quantize: str) -> None:
    from gguf import LlamaFileType

    types = {"f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
    writer.add_name(source.name)
    writer.add_file_type(LlamaFileType[types[quantize]])
    writer.add_quantization_version(2)
    writer.add_context_length(source.context)
    writer.add_embedding_length(source.width)
    writer.add_feed_forward_length(source.inner)
    writer.add_block_count(source.layers)
    writer.add_head_count(source.heads)
    writer.add_head_count_kv(source.heads)
    writer.add_layer_norm_eps(source.epsilon)
    writer.add_rope_dimension_count(source.rotary)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(tokenizer.kinds)
    writer.add_token_merges(tokenizer.merges)
    writer.add_bos_token_id(source.end)
    writer.add_eos_token_id(source.end)
    writer.add_add_bos_token(False)


def _write(
    writer: GGUFWriter,
    tensors: dict[PlannedTensor, GGMLQuantizationType],
    path: Path,
    total: int,
    report: ReportBytes | None,
) -> None:
    """Write the header, then one tensor after the other, so that only one is in memory at a time."""
    import numpy as np
    from gguf.quants import quantize

    for tensor, kind in tensors.items():
        size = _bytes(tensor, kind)
        writer.add_tensor_info(gguf_name(tensor.name), tensor.shape, np.dtype(np.float32), size, kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    written = 0
    for tensor, kind in tensors.items():
        numbers: Any = tensor.read().float().numpy()
        writer.write_tensor_data(quantize(numbers, kind))
        written += _bytes(tensor, kind)
        if report is not None:
            report(written, total)


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a tensor of Phi.

    >>> gguf_name("model.layers.3.mlp.fc1.bias")
    'blk.3.ffn_up.bias'
    """
    module, _, kind = name.rpartition(".")
    if module in OUTER:
        return f"{OUTER[module]}.{kind}"
    layer, _, part = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{INNER[part]}.{kind}"


def _kind(tensor: PlannedTensor, quantize: str) -> GGMLQuantizationType:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(tensor.shape) == 1:
        return GGMLQuantizationType.F32
    if quantize == "q4_0" and tensor.name.startswith(("model.embed_tokens", "lm_head")):
        quantize = "q8_0"
    kind = GGMLQuantizationType[quantize.upper()]
    block, _ = GGML_QUANT_SIZES[kind]
    return kind if tensor.shape[-1] % block == 0 else GGMLQuantizationType.F16


def _bytes(tensor: PlannedTensor, kind: GGMLQuantizationType) -> int:
    from math import prod

    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return prod(tensor.shape) // block * size
