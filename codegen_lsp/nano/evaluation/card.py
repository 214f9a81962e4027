"""Writes the model card from the manifest, the log, the evaluation and the benchmarks; all its figures come from there.

Knows the files of a shipped checkpoint and measures nothing itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codegen_lsp.nano.corpus.windows import LEAK_WIDTH
from codegen_lsp.nano.evaluation import evaluate, tables
from codegen_lsp.nano.training.recipes import Recipe

HEADER = """---
license: bsd-3-clause
language:
- code
library_name: transformers
pipeline_tag: text-generation
tags:
- codegen
- code
- python
- code-completion
---

# nano
"""


def write_card(folder: Path, recipe: Recipe, note: str = "") -> Path:
    """Write `README.md` into a checkpoint's folder and return its path. The card says which figures are missing.

    `note` adds to what the recipe and the log say about the training.
    """
    config = _read(folder / "config.json")
    manifest = _read(folder / "manifest.json")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    sections = [
        HEADER + "\n" + _summary(config),
        "## Intended use\n\n" + _INTENDED,
        "## Limits\n\n" + _LIMITS,
        "## What it must not be used for\n\n" + _MUST_NOT,
        "## Evaluation\n\n" + _evaluation(folder / "evaluation.json", folder / "evaluation-every-file.json"),
        "## Benchmarks\n\n" + tables.sections(folder),
        "## Training\n\n" + _training(recipe, config, log, note),
        "## Training data\n\n" + _data(manifest),
        "## Citation\n\n" + _CITATION,
    ]
    path = folder / "README.md"
    lines = "\n\n".join(section.strip() for section in sections).split("\n")
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
    return path


def parameters(config: dict[str, Any]) -> tuple[int, int]:
    """Return the number of parameters of a CodeGen configuration: in the blocks, and in embeddings and head."""
    width, inner = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]
    block = 4 * width * width + 2 * width * inner + inner + width + 2 * width
    return config["n_layer"] * block + 2 * width, 2 * config["vocab_size"] * width + config["vocab_size"]


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _summary(config: dict[str, Any]) -> str:
    blocks, embeddings = parameters(config)
    return f"""A very small `CodeGenForCausalLM` for Python, trained from scratch by the code in `codegen_lsp/nano`.
It is part of `codegen-lsp`, so that the first suggestion needs no download and the tests run on real weights. It has
{blocks / 1e6:.1f} million parameters in {config["n_layer"]} blocks of width {config["n_embd"]} and
{embeddings / 1e6:.1f} million in embeddings and head, a context of {config["n_positions"]:,} tokens, and a vocabulary
of {config["vocab_size"]:,} tokens: byte-level BPE, with CodeGen's tokens for runs of spaces and tabs.
{_fill(config)}
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

from codegen_lsp.nano import MODEL_DIR

tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
model = AutoModelForCausalLM.from_pretrained(MODEL_DIR)
```"""


def _fill(config: dict[str, Any]) -> str:
    """Describe the prompts of a fill-in-the-middle model; empty for other models."""
    forms = config.get("fill_in_the_middle")
    if not forms:
        return ""
    return f"""
It fills in the middle between a prefix and a suffix. A prompt has one of two forms, with CodeGen2's control tokens:

- SPM: `{forms["spm"]}`
- PSM: `{forms["psm"]}`

The middle ends with `{forms["stop"]}`. Prefix and suffix have to be tokenized separately.
{_LEFT_TO_RIGHT if forms.get("left_to_right") else ""}"""


_LEFT_TO_RIGHT = """
By default `codegen-lsp` asks it left to right all the same: the text after the cursor helps so small a model little,
and the model reads more each time the cursor moves to another place. With `fillInTheMiddle: always` it gets these
prompts; *Benchmarks* has the figures of both.
"""


_INTENDED = """\
Completing the rest of a line of Python while a user types, as the default model of `codegen-lsp` until a larger one is
chosen (`--model 350M-mono`); tests and benchmarks of programs that run CodeGen models; studying a language model whose
training data, code and figures are all available."""

_LIMITS = """\
It is small, and was trained on little text. It has learned Python's syntax, the names and idioms of common libraries,
and to copy from the open file; it does not reason about what code does. It can complete a line that resembles a nearby
one, but cannot write a function from its docstring. It knows Python only, and English only from docstrings. It was not
trained to follow instructions. Its suggestions can look right and still be wrong, insecure or out of date, and can
repeat short pieces of the training data. Texts longer than 2,048 tokens have to be truncated."""

_MUST_NOT = """\
Writing code that runs without a human review. Security reviews, or judging whether code is correct. Any statement about
people: it was trained on source code only, which includes the names of authors. Estimating the capabilities of CodeGen
models: it shares only their architecture. It is not one of Salesforce's checkpoints and not endorsed by their
authors."""


def _evaluation(listed: Path, every_file: Path) -> str:
    if not listed.exists():
        return "Not measured yet: run `python -m codegen_lsp.nano evaluate`."
    measured = _read(listed)
    results = [evaluate.from_json(row) for row in measured["results"]]
    text = f"""Measured on distributions of which no file was used for training, on the {measured["files"]} files that
`held_out.json` lists. Files that the corpus would reject, such as tables, are not among them, and licence notices are
removed. Bits per byte: windows of at most 2,048 tokens that overlap by half. The other columns are about the rest of
the line after {measured["cuts"]:,} random points (seed {measured["seed"]}), half of them at a line's start after its
indentation, half inside the line, with greedy decoding and token healing. A suggestion is *shown* if its mean
log-probability is at least {measured["threshold"]} nats. "Words of the buffer" completes words from the open file, as
every editor does. The 5-gram is smoothed by absolute discounting, counted on the same tokens of the same corpus, and
mixed with a cache of the open file.

{evaluate.markdown(results).strip()}

To reproduce it, run `python -m codegen_lsp.nano evaluate --cuts {measured["cuts"]}` (the 5-gram requires the commands
corpus and tokenizer first). One of the distributions is this repository: when its sources change, the points move, and
the figures change by a point or two. {measured.get("note", "")}"""
    if every_file.exists():
        row = _read(every_file)
        bits = row["results"][0]["bits_per_byte"]
        text += f"""

Over the full text of all {row["files"]:,} held-out files: {bits:.3f} bits per byte
(`python -m codegen_lsp.nano evaluate --every-file --cuts 0 --no-baselines`)."""
    return text


def _training(recipe: Recipe, config: dict[str, Any], log: list[dict[str, float]], note: str) -> str:
    last = log[-1]
    stages = "; ".join(
        f"{stage.rows} rows of {stage.length} tokens until {stage.until:.0%}" for stage in recipe.stages
    )
    place = "on one GPU" if recipe.device == "cuda" else "on a machine\nthat did other work at the same time"
    return f"""Recipe `{recipe.name}`: `python -m codegen_lsp.nano train --recipe {recipe.name}`. Cross-entropy on
{last["tokens"] / 1e6:.1f} million tokens in {last["step"]:,} steps and {last["seconds"] / 60:.0f} minutes, {place}.
The matrices in the blocks are trained with Muon (learning rate {recipe.matrix_lr}), embeddings, head and
vectors with AdamW (learning rates {recipe.embedding_lr}, {recipe.head_lr}, {recipe.vector_lr}); the weight decay
is {recipe.weight_decay}. The learning rates are constant until {recipe.decay_from:.0%} of
the training and then decay linearly to zero. Batches: {stages}. The last stage prefers
small, typed libraries. The arithmetic is in {"bfloat16" if recipe.bfloat16 else "float32"}, the stored weights are in
{config["dtype"]}. {_continued(recipe)}{note}

![Training loss over the number of tokens](curve.png)

The loss, the learning rate and the speed of {_logged(log)} are in `log.jsonl`."""


def _logged(log: list[dict[str, float]]) -> str:
    distance = log[1]["step"] - log[0]["step"] if len(log) > 1 else 1
    return "every step" if distance == 1 else f"one step of {distance}"


def _continued(recipe: Recipe) -> str:
    """Describe the initial weights and the rows of a recipe; empty for new weights and plain rows."""
    text = ""
    if recipe.initial:
        text += f"""It begins with the weights of the recipe `{recipe.initial}`; the tokens and minutes of that training
are not included above. """
    if recipe.fill:
        text += f"""{recipe.fill:.0%} of the rows consist of fill-in-the-middle samples: rests and parts of lines, whole
lines, blocks and random spans, two thirds of them in SPM form; the loss includes all tokens. """
    return text


def _data(manifest: dict[str, Any]) -> str:
    entries = manifest["distributions"]
    total = sum(entry["bytes"] for entry in entries.values())
    rows = "\n".join(
        f"| {name} | {entry['version']} | {entry['licence'].replace('|', '/')} | {entry['files']:,} "
        f"| {entry['bytes'] / 1e3:,.0f} |"
        for name, entry in sorted(entries.items(), key=lambda item: -item[1]["bytes"])
    )
    return f"""\
{total / 1e6:.0f} MB of Python source from the packages in a development environment of `codegen-lsp`, all under
permissive licences according to their metadata. Exact and near duplicates, generated files, tables, vendored copies,
licence notices at the head of files, and every file that shares {LEAK_WIDTH} consecutive tokens with a held-out file
are left out; large distributions are capped. `manifest.json` lists the files of each distribution, with hashes, and
`python -m codegen_lsp.nano corpus` collects them again.

Held out completely, and never trained on: {", ".join(manifest["held_out"])}.

| distribution | version | licence | files | kB |
|---|---|---|---:|---:|
{rows}"""


_CITATION = """\
The architecture and the tokens for white space come from CodeGen:

```bibtex
@article{nijkamp2022codegen,
  title   = {CodeGen: An Open Large Language Model for Code with Multi-Turn Program Synthesis},
  author  = {Nijkamp, Erik and Pang, Bo and Hayashi, Hiroaki and Tu, Lifu and Wang, Huan and Zhou, Yingbo and
             Savarese, Silvio and Xiong, Caiming},
  journal = {arXiv preprint arXiv:2203.13474},
  year    = {2022}
}
```"""
