"""The typing replay: a person's typing of real files, through the real language server over stdio.

At every position a suggestion is requested, as an editor does by itself. It is accepted if it is right, that is, if
the file continues with it, and if it has two characters or more. Otherwise the next key is pressed. `typist` says what
is typed and when; `keyboard` types it.
"""

from codegen_lsp.evals.benchmarks.replay.evaluation import evaluate, find_files, settings_of
from codegen_lsp.evals.benchmarks.replay.keyboard import ReplaySettings, Tally, Typing
from codegen_lsp.evals.benchmarks.replay.report import summarise, write_report
from codegen_lsp.evals.benchmarks.replay.team import TypingTeam, type_together

__all__ = [
    "ReplaySettings",
    "Tally",
    "Typing",
    "TypingTeam",
    "evaluate",
    "find_files",
    "settings_of",
    "summarise",
    "type_together",
    "write_report",
]
