"""Single-line infilling: one line between a prefix and a suffix (1,033 tasks made from HumanEval; Bavarian et al.).

The benchmark nearest to what the language server does. The cursor is on the empty line that is to be filled, and one
line is requested, as the benchmark does. Every task is filled twice: by the model alone, left to right and greedily,
and by the language server's pipeline (`lsp.suggest.pipeline`), as when a person asks by hand. In between, the report
shows what each part of the pipeline contributes:

- `raw`: the task's prefix, decoded greedily, up to the end of the first line that is not blank.
- `prompt`: the pipeline's first row (its greedy one) after the filters.
- `mean`: the pipeline's row with the best mean log-probability.
- `server`: the first suggestion that an editor would show: all rows, ranked by everything.
- `any`: whether any row is right, which is the limit of what ranking can reach.

A model that fills in the middle is asked left to right too, side by side:

- `fill`: what the model alone writes between prefix and suffix, greedily.
- `left_to_right`: the first suggestion of a server that doesn't read the text after the cursor.

Sets of several lines and of spans within lines have the same format (multi-line and random-span infilling).
"""

from codegen_lsp.evals.benchmarks.infilling.evaluation import WAYS, choices, evaluate, is_exact
from codegen_lsp.evals.benchmarks.infilling.filling import Filler
from codegen_lsp.evals.benchmarks.infilling.report import WAY_NAMES, figures, gains, write_report
from codegen_lsp.evals.benchmarks.infilling.tasks import InfillingSettings, Task, read_tasks, settings_of

__all__ = [
    "WAYS",
    "WAY_NAMES",
    "Filler",
    "InfillingSettings",
    "Task",
    "choices",
    "evaluate",
    "figures",
    "gains",
    "is_exact",
    "read_tasks",
    "settings_of",
    "write_report",
]
