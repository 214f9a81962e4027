"""The public harness (lm-eval) as a client of a completions server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER

HARNESS = """
import json, sys
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

pairs, url, tokenizer = json.loads(sys.stdin.read())
model = LocalCompletionsAPI(
    base_url=url, model="nano", tokenizer=tokenizer, tokenizer_backend="huggingface", max_length=1024, batch_size=2,
    tokenized_requests=True,
)
asked = [Instance("loglikelihood", {}, tuple(pair), i) for i, pair in enumerate(pairs)]
rolled = [Instance("loglikelihood_rolling", {}, ("".join(pair),), i) for i, pair in enumerate(pairs)]
found = model.loglikelihood(asked)
contexts = [model._encode_pair(*pair) for pair in pairs]
print("ANSWER" + json.dumps([found, model.loglikelihood_rolling(rolled), contexts]))
"""
"""The harness in a process of its own: it brings half of the scientific stack, and its warnings."""


def likelihoods(pairs: Sequence[tuple[str, str]], url: str, token: str) -> tuple[Any, Any, Any]:
    """The log-likelihoods of pairs, those of whole texts, and the pairs' tokens, asked by the harness."""
    if importlib.util.find_spec("lm_eval") is None:
        pytest.skip("needs lm-eval, from the eval extra")
    own = {"OPENAI_API_KEY": token, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HARNESS],
        input=json.dumps([pairs, f"{url}/v1/completions", str(NANO_FOLDER)]),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | own,
    )
    assert "ANSWER" in done.stdout, done.stderr[-3000:]
    asked, rolled, encoded = json.loads(done.stdout.split("ANSWER")[1])
    return asked, rolled, encoded
