"""Writes the model card from what was recorded: manifest, log, evaluation, benchmarks. Nothing in it is typed by hand.

Knows the files of a shipped checkpoint; measures nothing itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codegen_lsp.nano.corpus.corpus import LEAK_WIDTH
from codegen_lsp.nano.evaluation import evaluate, results
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
    """Write `README.md` into a checkpoint's folder; figures that were not measured yet are said to be missing.

    `note` says what the recipe and the log do not say about this training.
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
        "## Benchmarks\n\n" + results.sections(folder),
        "## Training\n\n" + _training(recipe, config, log, note),
        "## Training data\n\n" + _data(manifest),
        "## Citation\n\n" + _CITATION,
    ]
    path = folder / "README.md"
    path.write_text("\n\n".join(section.strip() for section in sections) + "\n", encoding="utf-8")
    return path


def parameters(config: dict[str, Any]) -> tuple[int, int]:
    """The number of parameters of a CodeGen configuration: in the blocks, and in embeddings and head."""
    width, inner = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]
    block = 4 * width * width + 2 * width * inner + inner + width + 2 * width
    return config["n_layer"] * block + 2 * width, 2 * config["vocab_size"] * width + config["vocab_size"]


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _summary(config: dict[str, Any]) -> str:
    blocks, embeddings = parameters(config)
    return f"""A very small `CodeGenForCausalLM` for Python, trained from nothing by the code in `codegen_lsp/nano`.
It ships inside `codegen-lsp`, so that there is a first suggestion without a download, and so that the tests run
on real weights. It has {blocks / 1e6:.1f} million parameters in {config["n_layer"]} blocks of width {config["n_embd"]}
and {embeddings / 1e6:.1f} million in embeddings and head, reads {config["n_positions"]:,} tokens, and has a vocabulary
of {config["vocab_size"]:,} tokens: byte-level BPE, with CodeGen's tokens for runs of spaces and tabs.
{_fill(config)}
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

from codegen_lsp.nano import MODEL_DIR

tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
model = AutoModelForCausalLM.from_pretrained(MODEL_DIR)
```"""


def _fill(config: dict[str, Any]) -> str:
    """Describe the prompts of a model that fills in the middle; empty for another model."""
    forms = config.get("fill_in_the_middle")
    if not forms:
        return ""
    return f"""
It fills in the middle between a prefix and a suffix, asked in one of two forms, with CodeGen2's control tokens:

- SPM: `{forms["spm"]}`
- PSM: `{forms["psm"]}`

The middle ends with `{forms["stop"]}`. Prefix and suffix are tokenized apart from each other.
"""


_INTENDED = """\
Completing the rest of a line of Python while a user types, as the default of `codegen-lsp` until they choose a
larger model (`--model 350M-mono`); tests and benchmarks of programs that run CodeGen models; studying a language
model whose data, code and figures are all at hand."""

_LIMITS = """\
It is small, and saw few tokens. It has learnt the form of Python, the names and idioms of common libraries, and to
copy from the open file; it does not reason about what code does. Expect the end of a line that resembles something
nearby, not a function from its docstring. It knows Python only, and English only as far as docstrings go. Nothing
was done to make it follow instructions. Its suggestions can be wrong, insecure or out of date in ways that look
right, and can repeat short pieces of the code that it learnt from. Texts beyond 2,048 tokens have to be cut."""

_MUST_NOT = """\
Writing code that runs without a person having read it. Security reviews, or judging whether code is correct.
Anything about people: it has seen source code only, with the names of authors that stand in it. Measuring what
CodeGen models are capable of: it shares their architecture and nothing else. It is not one of Salesforce's
checkpoints and not endorsed by their authors."""


def _evaluation(listed: Path, every_file: Path) -> str:
    if not listed.exists():
        return "Not measured yet. `python -m codegen_lsp.nano evaluate` measures it."
    measured = _read(listed)
    results = [evaluate.from_json(row) for row in measured["results"]]
    text = f"""On distributions that were held out whole, in files listed in `held_out.json` beside the code
({measured["files"]} files; tables and scraps that the corpus would refuse are not measured, licence notices are left
out). Bits per byte: windows of at most 2,048 tokens that overlap by half. The other columns: the rest of the line
from {measured["cuts"]:,} random points (seed {measured["seed"]}), half at a line's start after its indentation, half
inside the line; greedy decoding with token healing; a suggestion is *shown* from a mean log-probability of
{measured["threshold"]} nats on. "Words of the buffer" is what an editor does without help; the 5-gram is smoothed by
absolute discounting over the same tokens of the same corpus, and mixed with a cache of the open file.

{evaluate.markdown(results).strip()}

To repeat it: `python -m codegen_lsp.nano evaluate --cuts {measured["cuts"]}` (the 5-gram needs the commands corpus and
tokenizer first). One of the distributions is this repository: with its sources the points move, and the figures by a
point or two. {measured.get("note", "")}"""
    if every_file.exists():
        row = _read(every_file)
        bits = row["results"][0]["bits_per_byte"]
        text += f"""

Over all {row["files"]:,} held-out files, whole: {bits:.3f} bits per byte
(`python -m codegen_lsp.nano evaluate --every-file --cuts 0 --no-baselines`)."""
    return text


def _training(recipe: Recipe, config: dict[str, Any], log: list[dict[str, float]], note: str) -> str:
    last = log[-1]
    stages = "; ".join(
        f"{stage.rows} rows of {stage.length} tokens until {stage.until:.0%}" for stage in recipe.stages
    )
    return f"""Recipe `{recipe.name}`: `python -m codegen_lsp.nano train --recipe {recipe.name}`. Cross-entropy on
{last["tokens"] / 1e6:.1f} million tokens in {last["step"]:,} steps and {last["seconds"] / 60:.0f} minutes, on a machine
that did other work at the same time. Matrices in the blocks learn by Muon (rate {recipe.matrix_lr}), embeddings, head
and vectors by AdamW (rates {recipe.embedding_lr}, {recipe.head_lr}, {recipe.vector_lr}); weight decay
{recipe.weight_decay}; the rates hold until {recipe.decay_from:.0%} of the time and then fall to nothing. Batches:
{stages}. The last stage prefers small, typed libraries. Arithmetic in
{"bfloat16" if recipe.bfloat16 else "float32"}; stored in {config["dtype"]}. {_continued(recipe)}{note}

![The loss over the tokens seen](curve.png)

The loss, the rate and the speed of every step are in `log.jsonl`."""


def _continued(recipe: Recipe) -> str:
    """Say what a recipe begins with and what its rows are; empty for plain rows and fresh weights."""
    text = ""
    if recipe.initial:
        text += f"""It begins with the weights of the recipe `{recipe.initial}`, which began with none; the tokens and
minutes of that training are not counted here. """
    if recipe.fill:
        text += f"""{recipe.fill:.0%} of the rows are made of samples that fill in the middle: rests and parts of
lines, whole lines, blocks and random spans, two of three in SPM form; the loss counts all tokens. """
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
{total / 1e6:.0f} MB of Python source that a development environment of `codegen-lsp` holds anyway, under permissive
licences as their metadata states them. Exact and near duplicates, generated files, tables, vendored copies,
licence notices at the head of files, and every file that shares {LEAK_WIDTH} tokens in a row with something held
out are left out; large distributions are capped. The files of each, with hashes, are in `manifest.json`;
`python -m codegen_lsp.nano corpus` collects them again.

Held out whole, never trained on: {", ".join(manifest["held_out"])}.

| distribution | version | licence | files | kB |
|---|---|---|---:|---:|
{rows}"""


_CITATION = """\
The architecture and the tokens for white space are those of CodeGen:

```bibtex
@article{nijkamp2022codegen,
  title   = {CodeGen: An Open Large Language Model for Code with Multi-Turn Program Synthesis},
  author  = {Nijkamp, Erik and Pang, Bo and Hayashi, Hiroaki and Tu, Lifu and Wang, Huan and Zhou, Yingbo and
             Savarese, Silvio and Xiong, Caiming},
  journal = {arXiv preprint arXiv:2203.13474},
  year    = {2022}
}
```"""
