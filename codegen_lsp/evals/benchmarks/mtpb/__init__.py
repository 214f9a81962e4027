"""The Multi-Turn Programming Benchmark: 115 programs, each specified in several steps (Nijkamp et al., section 4).

Follows the reference's scripts step by step. The single-turn variant is in the paper but not in those scripts, so it
is our reading: all steps first, as one block of comments, and then one sample with the tokens of all turns, cut only
at end of text, a line-start docstring or two empty lines, since one program may hold several functions, prints and
comments.
"""

from codegen_lsp.evals.benchmarks.mtpb.cases import (
    LIMITS,
    OPENING,
    Case,
    MtpbSettings,
    judge_named,
    read_cases,
    settings_of,
    turns_named,
)
from codegen_lsp.evals.benchmarks.mtpb.conversation import comment, converse, evaluate, judge
from codegen_lsp.evals.benchmarks.mtpb.report import Rates, rates, write_report

__all__ = [
    "LIMITS",
    "OPENING",
    "Case",
    "MtpbSettings",
    "Rates",
    "comment",
    "converse",
    "evaluate",
    "judge",
    "judge_named",
    "rates",
    "read_cases",
    "settings_of",
    "turns_named",
    "write_report",
]
