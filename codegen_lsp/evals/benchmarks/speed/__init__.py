"""Speed on this machine: our engine at each number format beside other engines with the same weights.

Every engine has a process of its own, and all of them are measured in turns: what another program on this machine takes
away hits each of them alike. Ratios within one run mean more than the times.
"""

from codegen_lsp.evals.benchmarks.speed.report import write_report
from codegen_lsp.evals.benchmarks.speed.rounds import measure
from codegen_lsp.evals.benchmarks.speed.values import ContenderSpec, SpeedSettings, chosen, contenders

__all__ = ["ContenderSpec", "SpeedSettings", "chosen", "contenders", "measure", "write_report"]
