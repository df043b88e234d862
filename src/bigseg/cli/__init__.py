"""The command line; importing it imports no array library, because every job pays for it."""

from __future__ import annotations

import sys

import typer

from bigseg import __version__
from bigseg.cli.clean import clean
from bigseg.cli.evaluate import evaluate
from bigseg.cli.export import export
from bigseg.cli.init import init
from bigseg.cli.invalidate import invalidate
from bigseg.cli.plan import plan
from bigseg.cli.run import run
from bigseg.cli.seams import seams
from bigseg.cli.status import status
from bigseg.cli.sweep import sweep
from bigseg.cli.train import train
from bigseg.cli.verify import verify
from bigseg.errors import UserError
from bigseg.threads import limit_libraries

limit_libraries()

app = typer.Typer(
    name="bigseg",
    help="Segment microscopy volumes that fit in no machine's memory. The work itself is run by Snakemake: "
    "write a config.yaml with `bigseg init`, then run `snakemake`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (init, plan, status, verify, invalidate, clean, evaluate, seams, sweep, export, train, run):
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; user mistakes end with one message and exit status 2, without a traceback."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"bigseg: {error}\n")
        sys.exit(2)
