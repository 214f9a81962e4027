"""The generated parts of the documents: each stands between `<!-- name -->` and `<!-- end name -->`.

    python tests/support/readme.py

writes them; `tests/test_readme.py` compares. The part `figures` is written by the benchmark that measures it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

DOCUMENTS = {
    "settings": DOCS / "settings.md",
    "models": DOCS / "models.md",
    "figures": DOCS / "speed.md",
    "speed": README,
}
"""The document that has each part."""


def settings() -> str:
    """The settings, from the server's own options."""
    from codegen_lsp.lsp.options.option_docs import describe
    from codegen_lsp.lsp.options.options import restricted

    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for option in describe():
        default = json.dumps(option["default"])
        text = option["description"].replace("|", "\\|")
        if "enum" in option:
            text += f" One of {', '.join(f'`{choice}`' for choice in option['enum'])}."
        elif "minimum" in option:
            text += f" From {option['minimum']:g} to {option['maximum']:g}."
        if option["name"] in restricted():
            text += " *User only.*"
        rows.append(f"| `{option['name']}` | `{default}` | {text} |")
    return "\n".join(rows)


def models() -> str:
    """Dimensions and sizes of the twelve checkpoints, from the configurations in the code."""
    from codegen_lsp.engine.checkpoints.plan import plan
    from codegen_lsp.wire.config import EngineConfig

    rows = [
        "| model | parameters | weights, 16 bit | KV cache per token | for 2,048 tokens |",
        "|---|---|---|---|---|",
    ]
    for size in ("350M", "2B", "6B", "16B"):
        made = plan(EngineConfig(model=f"{size}-mono", dtype="bfloat16", device_map="cpu"))
        rows.append(
            f"| `{size}-nl`, `{size}-multi`, `{size}-mono` | {made.parameters / 1e9:.2f} B | "
            f"{made.weight_bytes / 2**30:.1f} GiB | {made.kv_bytes_per_token / 1024:.0f} KiB | "
            f"{made.kv_bytes_per_token * 2048 / 2**20:,.0f} MiB |"
        )
    return "\n".join(rows)


def speed() -> str:
    """The figures of docs/speed.md that matter most to a user, one line each."""
    shown = ("process start", "keystroke to suggestion", "typed-through", "memory of")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", current("figures"), re.MULTILINE)
    return "\n".join(f"- {name}: {value}" for name, value in rows if name.startswith(shown))


PARTS: dict[str, Callable[[], str]] = {"settings": settings, "models": models, "speed": speed}


def current(name: str) -> str:
    """The text between the marks of a part in its document."""
    text = DOCUMENTS[name].read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- end {name} -->", text, re.DOTALL)
    if match is None:
        raise LookupError(f"{DOCUMENTS[name]} has no part {name!r}")
    return match[1]


def put(name: str, content: str) -> None:
    """Replace the text between the marks of a part in its document."""
    document = DOCUMENTS[name]
    text = document.read_text(encoding="utf-8")
    head, below = text.split(f"<!-- {name} -->\n")
    tail = below[below.index(f"<!-- end {name} -->") :]
    document.write_text(f"{head}<!-- {name} -->\n{content}\n{tail}", encoding="utf-8")


def rewrite() -> None:
    """Bring every part up to date."""
    for name, make in PARTS.items():
        put(name, make())


if __name__ == "__main__":
    rewrite()
