"""What an engine imports, in processes of their own: the tests' process has imported everything already."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LOAD = """
import sys
from codegen_lsp.engine.libraries import import_libraries

import_libraries()
from codegen_lsp.engine import one_shot
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.wire.requests import CompletionRequest

def text():
    request = CompletionRequest(prompts=("def f(",), max_tokens=8, temperature=0)
    return one_shot.complete(EngineConfig(), request).choices[0].text

first = text()
"""

BREAK = """
import importlib.abc, sys

class Breaking(importlib.abc.MetaPathFinder):
    failures = 0

    def find_spec(self, name, path, target=None):
        if name == "transformers.masking_utils" and not self.failures:
            self.failures += 1
            raise ImportError("this version needs the compiler")
        return None

breaking = Breaking()
sys.meta_path.insert(0, breaking)
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_engine_does_without_the_compiler_and_leaves_it_usable() -> None:
    program = (
        LOAD
        + """
heavy = ("torch._dynamo", "sympy", "scipy", "torch.distributed.tensor")
print([name for name in heavy if name in sys.modules])
import torch
assert torch.distributed.is_available()
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2.0, 2.0]
from transformers.masking_utils import TransformGetItemToIndex
with TransformGetItemToIndex():
    pass
assert text() == first
"""
    )
    assert run(program) == "[]"


def test_a_version_of_transformers_that_needs_more_gets_it() -> None:
    assert run(BREAK + LOAD + "print(breaking.failures, bool(first))") == "1 True"
