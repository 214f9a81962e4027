"""Show a score: each token's surprise as a colour, in a terminal and on a page of HTML.

`codegen_lsp.wire.scoring` computes the scores.
"""

from __future__ import annotations

import html
import math

from codegen_lsp.wire.scoring import Scored

SHADES = ((1.0, ""), (3.0, "yellow"), (6.0, "dark_orange"), (math.inf, "red"))
"""Upper limit of surprise, in nats, and the colour below it; none below one nat."""


def shade(logprob: float | None) -> str:
    """Return the colour of a token; empty for an expected one."""
    surprise = -(logprob if logprob is not None else 0.0)
    return next(colour for limit, colour in SHADES if surprise <= limit)


def page(scored: Scored, title: str, model: str) -> str:
    """Return a self-contained page of HTML: the code with each token shaded by its surprise, figures and a legend."""
    spans = []
    for token in scored.tokens:
        surprise = -token.logprob if token.logprob is not None else 0.0
        strength = min(1.0, surprise / 10)
        tip = (
            "not predicted"
            if token.logprob is None
            else f"{surprise:.2f} nats, p = {math.exp(-surprise):.4g}"
        )
        text = html.escape(token.text)
        if strength < 0.05:
            spans.append(f'<span title="{tip}">{text}</span>')
        else:
            spans.append(
                f'<span title="{tip}" style="background:rgba(220,60,20,{strength:.2f})">{text}</span>'
            )
    figures = (
        f"{scored.predicted} tokens predicted; {scored.total:.2f} nats in total, {scored.mean:.3f} per token; "
        f"perplexity {scored.perplexity:.2f}; {scored.bits_per_byte:.3f} bits per byte"
    )
    return _PAGE.format(
        title=html.escape(title), model=html.escape(model), figures=figures, code="".join(spans)
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: likelihood</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
pre {{ font: 13px/1.6 ui-monospace, monospace; overflow-x: auto; tab-size: 4; }}
.legend span {{ padding: 0 .6em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>How surprising each token is to {model}: {figures}.</p>
<p class="legend">Surprise in nats:
<span>0</span>
<span style="background:rgba(220,60,20,.3)">3</span>
<span style="background:rgba(220,60,20,.6)">6</span>
<span style="background:rgba(220,60,20,1)">10 and more</span></p>
<pre>{code}</pre>
</body>
</html>
"""
