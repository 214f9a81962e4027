"""`python -m codegen_lsp.nano`: make, train and measure the bundled model.

On a new machine, in this order: corpus, tokenizer, train, evaluate; then ship, results and card (the card itself
lists the commands that its tables come from). `train --recipe cpu-fill` goes on with what `train --recipe cpu` made
and teaches it to fill in the middle. For a machine with a GPU and no corpus of
its own: pack here, copy the parts, unpack there, train --recipe gpu.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from codegen_lsp.lsp.options import Options
from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.wire.errors import CodegenError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

DEFAULT_WORK = Path(platformdirs.user_cache_dir("codegen-lsp")) / "nano"
WorkFolder = Annotated[Path, typer.Option("--work", help="Folder for the corpus, tokens and checkpoints.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="cpu, cpu-fill or gpu.")]

THRESHOLD = round(math.log(Options().min_confidence), 3)
"""The mean log-probability (nats) from which the server shows a suggestion, until a user says otherwise."""


@app.command()
def corpus(work: WorkFolder = DEFAULT_WORK) -> None:
    """Collect what there is to learn from on this machine; writes corpus.jsonl and manifest.json."""
    from codegen_lsp.nano.corpus.corpus import build

    entries = build(work)
    total = sum(entry.bytes for entry in entries.values())
    typer.echo(f"{work}: {len(entries)} distributions, {total / 1e6:.1f} MB")


@app.command()
def tokenizer(
    base: Annotated[
        Path | None, typer.Option(help="Take the tokenizer of this checkpoint instead of training one.")
    ] = None,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Train the tokenizer on the corpus and turn the corpus into tokens."""
    from codegen_lsp.nano.corpus.corpus import documents
    from codegen_lsp.nano.corpus.data import tokenize_corpus
    from codegen_lsp.nano.corpus.tokenizer import (
        load_tokenizer,
        save_tokenizer,
        train_tokenizer,
        training_texts,
        with_sentinels,
    )

    trained = with_sentinels(
        load_tokenizer(base) if base else train_tokenizer(training_texts(documents(work)))
    )
    save_tokenizer(trained, work / "tokenizer")
    counts = tokenize_corpus(work, trained)
    pools = ", ".join(f"{count:,} {pool}" for pool, count in counts.items())
    typer.echo(f"{work / 'tokenizer'}: {trained.get_vocab_size():,} tokens; corpus: {pools}")


@app.command()
def train(
    recipe: RecipeName = "cpu",
    minutes: Annotated[
        float | None, typer.Option(help="Length of the whole training; else the recipe's.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Length of the whole training in steps, for a machine that is busy."),
    ] = None,
    piece: Annotated[
        float | None, typer.Option(help="Stop after this many minutes; run again to go on.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; else one for each recipe.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; else the recipe's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights and of the order of the data.")] = 0,
    initial: Annotated[
        Path | None, typer.Option(help="Checkpoint to begin with; else the model that the recipe names.")
    ] = None,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Train after a recipe, or go on with the training that the folder holds."""
    import torch

    from codegen_lsp.nano.training.recipes import named
    from codegen_lsp.nano.training.train import Run
    from codegen_lsp.nano.training.train import train as run_training

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
    last = run_training(run)
    state = (
        f"done: {run.out / 'model'}" if last["done"] else "not done yet: run the same command again to go on"
    )
    typer.echo(
        f"{last['tokens']:,} tokens in {last['seconds'] / 60:.1f} minutes, loss {last['loss']:.3f}; {state}"
    )


@app.command()
def evaluate(
    model: Annotated[list[str] | None, typer.Option(help="Another checkpoint: a folder or a name.")] = None,
    nano: Annotated[
        Path, typer.Option(help="The bundled model, or a training's `model` folder.")
    ] = MODEL_DIR,
    baselines: Annotated[
        bool, typer.Option(help="Measure the buffer's words and the 5-gram as well.")
    ] = True,
    cuts: Annotated[int, typer.Option(min=0, help="Lines to complete.")] = 1000,
    files: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of files of each distribution.")
    ] = None,
    every_file: Annotated[
        bool, typer.Option("--every-file", help="All held-out files, not the list.")
    ] = False,
    threshold: Annotated[
        float, typer.Option(help="Least mean log-probability (nats) that is shown.")
    ] = THRESHOLD,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and evaluation.md.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Measure nano, the baselines and any other model on held-out code; prints one table."""
    from codegen_lsp.nano.corpus.heldout import SEED, cut_points, load, load_all
    from codegen_lsp.nano.evaluation import evaluate as evaluation
    from codegen_lsp.nano.evaluation.predictors import BufferWords, LanguageModel, NGramPredictor, Predictor

    held_out = load_all() if every_file else load()
    if files is not None:
        held_out = held_out.first(files)
    for note in held_out.notes:
        typer.echo(f"note: {note}", err=True)
    points = sorted(
        cut_points(held_out.files, cuts), key=lambda cut: (cut.distribution, cut.path, len(cut.prefix))
    )
    predictors: list[Callable[[], Predictor]] = [partial(LanguageModel, "nano", nano, device)]
    if baselines:
        predictors += [partial(NGramPredictor.fitted, work), BufferWords]
    predictors += [partial(LanguageModel, name, name, device) for name in model or []]
    results = []
    for make in predictors:
        result = evaluation.measure(make(), held_out, points, threshold)
        typer.echo(f"{result.name}: {result.seconds:.0f} s", err=True)
        results.append(result)
    typer.echo(evaluation.markdown(results))
    settings = {"seed": SEED, "cuts": len(points), "threshold": threshold, "files": len(held_out.files)}
    folder = out or work / "evaluation"
    evaluation.write(results, settings, folder, "evaluation-every-file" if every_file else "evaluation")
    typer.echo(f"written to {folder}", err=True)


@app.command()
def lists() -> None:
    """Choose the held-out files anew from what is installed; writes held_out.json beside this code."""
    from codegen_lsp.nano.corpus.heldout import LIST, write_list

    write_list()
    typer.echo(str(LIST))


@app.command()
def ship(
    recipe: RecipeName = "cpu",
    run: Annotated[Path | None, typer.Option(help="The training's folder; else the recipe's.")] = None,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = MODEL_DIR,
    work: WorkFolder = DEFAULT_WORK,
) -> None:
    """Put a training's last checkpoint, manifest, log and picture into the package; then evaluate, then card."""
    from codegen_lsp.nano.training.checkpoint import ship as ship_checkpoint
    from codegen_lsp.nano.training.recipes import named

    chosen = named(recipe)
    step = ship_checkpoint(run or work / "runs" / recipe, work, chosen, out)
    typer.echo(f"{out}: step {step}")


@app.command("files")
def held_out_files(
    count: Annotated[int, typer.Option(min=1, help="Files, in turn from each held-out distribution.")] = 10,
) -> None:
    """Print where held-out files are on this machine, a line each: what to type in `codegen-lsp eval replay`."""
    from codegen_lsp.nano.corpus.heldout import paths

    for path in paths(count):
        typer.echo(str(path))


@app.command("results")
def keep_results(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `codegen-lsp eval ... --out` wrote.")],
    out: Annotated[Path, typer.Option(help="The checkpoint.")] = MODEL_DIR,
) -> None:
    """Summarise the reports of evaluations beside the checkpoint, for its card."""
    from codegen_lsp.nano.evaluation.results import keep

    for path in keep(runs, out):
        typer.echo(str(path))


@app.command()
def card(
    recipe: RecipeName = "cpu",
    note: Annotated[str, typer.Option(help="What else there is to say about this training.")] = "",
    out: Annotated[Path, typer.Option(help="The checkpoint.")] = MODEL_DIR,
) -> None:
    """Write the model card from the manifest, the log and the evaluation that lie beside the checkpoint."""
    from codegen_lsp.nano.evaluation.card import write_card
    from codegen_lsp.nano.training.recipes import named

    typer.echo(str(write_card(out, named(recipe), note)))


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="Folder for the parts.")], work: WorkFolder = DEFAULT_WORK
) -> None:
    """Compress tokens and tokenizer into parts of at most 15 MiB, 64 MiB in all, for another machine."""
    from codegen_lsp.nano.corpus.pack import pack as write_parts

    for part in write_parts(work, out):
        typer.echo(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")


@app.command()
def unpack(
    parts: Annotated[Path, typer.Argument(help="Folder with the parts.")], work: WorkFolder = DEFAULT_WORK
) -> None:
    """Put a packed corpus into the work folder of this machine."""
    from codegen_lsp.nano.corpus.pack import unpack as read_parts

    read_parts(parts, work)
    typer.echo(f"unpacked into {work}")


def main() -> None:
    """Run a command; an error that a person can act on is one sentence and exit code 2."""
    try:
        app()
    except CodegenError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
