"""Lines that need another file: what the definitions in other files add to a model's suggestions.

As CrossCodeEval (Ding et al. 2023) makes its tasks, from installed packages alone: the imports of a package from
itself are replaced by empty classes, and a line on which a type checker then finds a new error needs another file. The
cursor is put before the name that the error is about, and the language server's own pipeline completes the line:

- `none`: from the current file alone;
- `names`: with what the names of other files mean: after a dot the model writes members that the receiver has;
- `imports`: with the definitions that the file imports (`codegen_lsp.lsp.context`) in the prompt as well;
- `similar`: with passages of other files in place of them, taken as open, that are like the code at the cursor;
- `both`: with both.

Nothing of the packages and nothing that the model writes is run: packages are read, and the type checker reads too.
"""

from codegen_lsp.evals.benchmarks.crossfile.evaluation import WAYS, evaluate
from codegen_lsp.evals.benchmarks.crossfile.filling import LineCompleter
from codegen_lsp.evals.benchmarks.crossfile.report import figures, write_report
from codegen_lsp.evals.benchmarks.crossfile.tasks import (
    CrossfileSettings,
    CrossfileTask,
    find_tasks,
    settings_of,
)

__all__ = [
    "WAYS",
    "CrossfileSettings",
    "CrossfileTask",
    "LineCompleter",
    "evaluate",
    "figures",
    "find_tasks",
    "settings_of",
    "write_report",
]
