"""Passthrough: a stand-in model continues real files, so that whatever arrives differently is the server's doing.

Each place of a file is a document with a gap and what the file really has there. The stand-in model writes exactly
that, and goes on as the file does; prompt, stop rules, filters and edits are those of editors, called in process.
What is inserted is then compared with the file.
"""

from codegen_lsp.evals.benchmarks.passthrough.evaluation import Arrival, PassthroughSettings, evaluate
from codegen_lsp.evals.benchmarks.passthrough.places import KINDS, Place, places_of
from codegen_lsp.evals.benchmarks.passthrough.report import figures, settings_of, write_report

__all__ = [
    "KINDS",
    "Arrival",
    "PassthroughSettings",
    "Place",
    "evaluate",
    "figures",
    "places_of",
    "settings_of",
    "write_report",
]
