"""The kernels for int8 weights on GPUs, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

CHECK = """
import torch
from codegen_lsp.engine.quantized.gpu import products
from codegen_lsp.engine.quantized.layers import QuantizedLinear

torch.manual_seed(0)
for outputs, inputs in ((100, 200), (64, 1024), (33, 2048)):
    for bias in (None, torch.randn(outputs)):
        layer = QuantizedLinear.from_weight(torch.randn(outputs, inputs), "int8", bias)
        for rows in (1, 2, 7, 16):
            row = torch.randn(rows, inputs)
            exact = row @ layer.dequantized().T + (0 if bias is None else bias)
            for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2e-3)):
                made = products.multiply(layer, row.to(dtype))
                assert made.dtype == dtype and made.shape == exact.shape
                error = float((made.float() - exact).norm() / exact.norm())
                assert error < tolerance, (outputs, inputs, rows, dtype, error)
print("exact")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_products_are_those_of_the_dequantized_weights() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "exact"
