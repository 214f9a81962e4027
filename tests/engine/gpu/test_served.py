"""A real engine on a GPU, over HTTP."""

from __future__ import annotations

from pathlib import Path

import torch
from support.local import load_model, names, reference
from support.served import serving

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER

PROMPT = "import os\n\n\ndef read_lines(path):\n    "


def test_an_engine_serves_from_the_gpu(tmp_path: Path) -> None:
    model = load_model(NANO_FOLDER, device_map="cuda:0")
    tokens = model.vocabulary.encode(PROMPT)
    expected = "".join(names(model, reference(model, tokens, 12)))
    del model
    torch.cuda.empty_cache()
    with serving(tmp_path, "--model", "nano", "--dtype", "float32", "--device-map", "cuda:0") as served:
        texts = [served.complete(PROMPT, max_tokens=12)["choices"][0]["text"] for _ in range(3)]
        assert texts == [expected] * 3
        several = served.complete(PROMPT, max_tokens=12, n=4)["choices"]
        assert [choice["text"] for choice in several] == [expected] * 4
