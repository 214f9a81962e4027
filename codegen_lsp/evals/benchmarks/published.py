"""Published figures, which the reports show beside the measured ones. Percent, with their sources."""

from __future__ import annotations

SOURCE = "Nijkamp et al., CodeGen (arXiv 2203.13474)"

HUMANEVAL_MONO: dict[str, dict[int, float]] = {
    "350M-mono": {1: 12.76, 10: 23.11, 100: 35.19},
    "2B-mono": {1: 23.70, 10: 36.64, 100: 57.01},
    "6B-mono": {1: 26.13, 10: 42.29, 100: 65.82},
    "16B-mono": {1: 29.28, 10: 49.86, 100: 75.00},
}
"""pass@k on HumanEval: 200 samples, top-p 0.95, the best of temperatures 0.2, 0.6 and 0.8 for each k."""

MTPB_MONO: dict[str, dict[str, float]] = {
    "350M-mono": {"multi": 16.98, "single": 5.75},
    "2B-mono": {"multi": 38.72, "single": 25.43},
    "6B-mono": {"multi": 43.52, "single": 28.48},
    "16B-mono": {"multi": 47.34, "single": 38.74},
}
"""Pass rate on MTPB, 40 samples for each case."""

INFILLING: dict[str, float] = {
    "InCoder 6.7B, left to right": 48.2,
    "InCoder 6.7B, left to right, reranked by the suffix": 54.9,
    "InCoder 6.7B, infilling": 69.0,
}
"""Pass rate on single-line infilling (Fried et al., InCoder, arXiv 2204.05999)."""

TYPING: dict[str, str] = {
    "GitHub Copilot": "under 200 ms on average, 27 % of suggestions accepted",
    "Cursor Tab": "260 ms at the median",
    "JetBrains full-line completion": "150 ms, 100 M parameters on the local machine",
    "character.ai": "95 % of prefix tokens from the cache",
}
"""Published figures of other products, measured in other ways; none of them replays files."""
