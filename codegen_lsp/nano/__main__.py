"""Make, train and measure the bundled model.

On a new machine, run the commands corpus, tokenizer, train and evaluate, in this order. Then ship the checkpoint, and
run results and card; the card lists the commands for its tables. `train --recipe cpu-fill` continues the training of
`train --recipe cpu` and teaches the model to fill in the middle.

To train on a machine that has a GPU but no corpus, pack the tokens, copy the parts, unpack them there, and run
`train --recipe gpu-fill`. Copy `model/`, `log.jsonl` and `curve.png` back from the folder of the run, and ship it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from codegen_lsp.lsp.options.options import Options
from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.wire.errors import CodegenError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

DEFAULT_WORK = Path(platformdirs.user_cache_dir("codegen-lsp")) / "nano"
WorkFolder = Annotated[Path, typer.Option("--work", help="Folder for the corpus, tokens and checkpoints.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="cpu, cpu-fill, gpu or gpu-fill.")]
CheckpointFolder = Annotated[Path, typer.Option("--out", help="Folder of the checkpoint.")]

THRESHOLD = round(math.log(Options().min_confidence), 3)
"""The mean log-probability (nats) from which the language server shows a suggestion by default."""


@app.command("corpus")
def corpus_command(work: WorkFolder = DEFAULT_WORK) -> None:
    """Collect source files to train on from this machine; writes corpus.jsonl and manifest.json."""
    from codegen_lsp.nano.corpus.corpus import build

    entries = build(work)
    total = sum(entry.bytes for entry in entries.values())
    typer.echo(f"{work}: {len(entries)} distributions, {total / 1e6:.1f} MB")


@app.command("tokenizer")
def tokenizer_command(
    base: Annotated[
        Path | None, typer.Option(help="Use the tokenizer of this checkpoint instead of training one.")
    ] = None,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Train the tokenizer on the corpus, and tokenize the corpus."""
    from codegen_lsp.nano.corpus.data import tokenize_corpus
    from codegen_lsp.nano.corpus.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(work, base)
    counts = tokenize_corpus(work, tokenizer)
    pools = ", ".join(f"{count:,} {pool}" for pool, count in counts.items())
    typer.echo(f"{work / 'tokenizer'}: {tokenizer.get_vocab_size():,} tokens; corpus: {pools}")


@app.command("train")
def train_command(
    recipe: RecipeName = "cpu",
    minutes: Annotated[
        float | None, typer.Option(help="Length of the whole training in minutes; by default the recipe's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length in steps instead of minutes, for a busy machine.")
    ] = None,
    piece: Annotated[
        float | None, typer.Option(help="Stop after this many minutes; run again to continue.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; by default one per recipe.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; by default the recipe's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the order of the data.")] = 0,
    initial: Annotated[
        Path | None, typer.Option(help="Checkpoint to begin with; by default the one that the recipe names.")
    ] = None,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Train by a recipe, or continue the training in the folder."""
    import torch

    from codegen_lsp.nano.training.recipes import named
    from codegen_lsp.nano.training.train import Run, train

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = named(recipe)
    run = Run(
        work=work,
        out=out or work / "runs" / recipe,
        recipe=chosen,
        minutes=minutes if minutes is not None else chosen.minutes,
        steps=steps,
        piece_minutes=piece,
        seed=seed,
        device=device or chosen.device,
        initial=initial,
    )
    last = train(run)
    state = f"done: {run.out / 'model'}" if last["done"] else "not done: run the same command to continue"
    typer.echo(
        f"{last['tokens']:,} tokens in {last['seconds'] / 60:.1f} minutes, loss {last['loss']:.3f}; {state}"
    )


@app.command("evaluate")
def evaluate_command(
    model: Annotated[list[str] | None, typer.Option(help="Another checkpoint: a folder or a name.")] = None,
    nano: Annotated[
        Path, typer.Option(help="The bundled model, or the `model` folder of a training.")
    ] = MODEL_DIR,
    baselines: Annotated[
        bool, typer.Option(help="Also measure the words of the buffer and the 5-gram.")
    ] = True,
    cuts: Annotated[int, typer.Option(min=0, help="Number of lines to complete.")] = 1000,
    files: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of files per distribution.")
    ] = None,
    every_file: Annotated[
        bool, typer.Option("--every-file", help="Measure all held-out files, not only the listed ones.")
    ] = False,
    threshold: Annotated[
        float, typer.Option(help="Minimum mean log-probability (nats) of a suggestion that is shown.")
    ] = THRESHOLD,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and evaluation.md.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Measure nano, the baselines and other models on held-out code; prints the figures as tables."""
    from codegen_lsp.nano.corpus.heldout import SEED, load, load_all
    from codegen_lsp.nano.evaluation import evaluate
    from codegen_lsp.nano.evaluation.cuts import cut_points

    held_out = load_all() if every_file else load()
    if files is not None:
        held_out = held_out.first(files)
    for note in held_out.notes:
        typer.echo(f"note: {note}", err=True)
    points = cut_points(held_out.files, cuts)
    predictors = evaluate.factories(nano, model or [], device, work if baselines else None)
    results = []
    for result in evaluate.measure_all(predictors, held_out, points, threshold):
        typer.echo(f"{result.name}: {result.seconds:.0f} s", err=True)
        results.append(result)
    typer.echo(evaluate.markdown(results))
    settings = {"seed": SEED, "cuts": len(points), "threshold": threshold, "files": len(held_out.files)}
    folder = out or work / "evaluation"
    evaluate.write(results, settings, folder, "evaluation-every-file" if every_file else "evaluation")
    typer.echo(f"written to {folder}", err=True)


@app.command("lists")
def lists_command() -> None:
    """Choose new held-out files from the installed distributions; writes held_out.json beside the code."""
    from codegen_lsp.nano.corpus.heldout import LIST, write_list

    write_list()
    typer.echo(str(LIST))


@app.command("ship")
def ship_command(
    recipe: RecipeName = "cpu",
    run: Annotated[Path | None, typer.Option(help="Folder of the training; by default the recipe's.")] = None,
    out: CheckpointFolder = MODEL_DIR,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Copy a training's model, manifest, log and curve into the package; then run evaluate and card."""
    from codegen_lsp.nano.training.checkpoint import ship_checkpoint

    step = ship_checkpoint(run or work / "runs" / recipe, work, out)
    typer.echo(f"{out}: step {step}")


@app.command("files")
def files_command(
    count: Annotated[int, typer.Option(min=1, help="Number of files.")] = 10,
) -> None:
    """Print paths of held-out files on this machine, for `codegen-lsp eval replay`; one distribution after another."""
    from codegen_lsp.nano.corpus.heldout import paths

    for path in paths(count):
        typer.echo(str(path))


@app.command("results")
def results_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `codegen-lsp eval ... --out` wrote.")],
    out: CheckpointFolder = MODEL_DIR,
) -> None:
    """Summarize reports of evaluations beside the checkpoint, for its card."""
    from codegen_lsp.nano.evaluation.results import keep

    for path in keep(runs, out):
        typer.echo(str(path))


@app.command("card")
def card_command(
    recipe: RecipeName = "cpu",
    note: Annotated[str, typer.Option(help="A remark on the training, for the card.")] = "",
    out: CheckpointFolder = MODEL_DIR,
) -> None:
    """Write the model card from the manifest, the log and the evaluations beside the checkpoint."""
    from codegen_lsp.nano.evaluation.card import write_card
    from codegen_lsp.nano.training.recipes import named

    typer.echo(str(write_card(out, named(recipe), note)))


@app.command("pack")
def pack_command(
    out: Annotated[Path, typer.Argument(help="Folder for the parts.")], work: WorkFolder = DEFAULT_WORK
) -> None:
    """Compress tokens and tokenizer for another machine, into parts of at most 15 MiB and 64 MiB in total."""
    from codegen_lsp.nano.corpus.pack import write_parts

    for part in write_parts(work, out):
        typer.echo(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")


@app.command("unpack")
def unpack_command(
    parts: Annotated[Path, typer.Argument(help="Folder with the parts.")], work: WorkFolder = DEFAULT_WORK
) -> None:
    """Unpack the parts of a packed corpus into the work folder of this machine."""
    from codegen_lsp.nano.corpus.pack import read_parts

    read_parts(parts, work)
    typer.echo(f"unpacked into {work}")


def main() -> None:
    """Run a command; an expected error prints one sentence and exits with code 2."""
    try:
        app()
    except CodegenError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
