"""``bigseg train``: a network from labelled volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bigseg.cli.options import AsJson
from bigseg.errors import UserError

_KINDS = ("auto", "cpu", "cuda")


def train(
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration of the training; --template prints one.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; cuda demands a GPU.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on the CPU. Default: all cores.")] = None,
    log: Annotated[Path | None, typer.Option(help="File for progress and messages.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Print a configuration with all keys, explained, and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network on labelled volumes, of any size, and write it as a model for `predict.model`.

    Start with `bigseg train --template > train.yaml`, name your volumes in it, then run
    `bigseg train --config train.yaml`. A training that was stopped goes on after its last whole epoch when it is
    started again, and more `epochs` can be added. The folder `output` gets the best model so far, a BioImage.IO
    package; `output/training` the last checkpoint, history.json and curves.png, and event files where TensorBoard is
    installed.
    """
    if template:
        from bigseg.config.documents import training_yaml

        typer.echo(training_yaml(), nl=False)
        return
    if config is None:
        raise UserError("--config: is missing", "write one: bigseg train --template > train.yaml")
    if device not in _KINDS:
        raise UserError(f"--device: {device!r} is unknown", f"give one of {', '.join(_KINDS)}")
    import json
    from dataclasses import asdict

    from bigseg.cli.log import logging_to
    from bigseg.config.load import load_training
    from bigseg.threads import available_cores

    with logging_to(log):
        settings = load_training(config)
        from bigseg.training.loop import train as run

        done = run(settings, device=device, threads=threads or available_cores())
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    typer.echo(f"model       {done.model}")
    typer.echo(f"epochs      {done.epochs}, best {done.best_epoch}, adapted Rand error {done.best_score:.4f}")
    typer.echo(f"curves      {Path(done.model) / 'training' / 'curves.png'}")
    typer.echo(f"use it      predict: {{method: network, model: {done.model}}}")
