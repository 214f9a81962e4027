"""What starting has touched of libraries doesn't stay in memory, and the libraries work on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, psutil, torch, transformers, llvmlite.binding as llvm
from codegen_lsp.engine.memory import release_libraries

def resident():
    return sum(m.rss for m in psutil.Process().memory_maps() if ".so" in m.path)

llvm.initialize_native_target()
before = resident()
release_libraries()
after = resident()
product = torch.arange(9.0).reshape(3, 3) @ torch.eye(3)
parsed = str(llvm.parse_assembly("define i32 @one() { ret i32 1 }"))
print(json.dumps([before, after, product.sum().item(), "ret i32 1" in parsed]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what libraries take")
def test_pages_of_libraries_are_released_and_come_back() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert not run.returncode, run.stderr
    before, after, total, parsed = json.loads(run.stdout)
    assert after < before / 2
    assert total == 36
    assert parsed
