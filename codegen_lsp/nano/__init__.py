"""The bundled model, and the code that trained it.

`MODEL_DIR` is the checkpoint that ships with the package. The subpackages make another one:
`python -m codegen_lsp.nano --help`. Importing this module imports neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"
"""A sharded safetensors checkpoint of a `CodeGenForCausalLM`, with its tokenizer, manifest and model card."""
