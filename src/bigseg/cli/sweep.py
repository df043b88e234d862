"""``bigseg sweep``: score many parameters of the partition on the graph alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.options import CONFIG, AsJson, ConfigFile
from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.sweeping.choices import Values

_OPTIONS = {
    "partition.method": "--method",
    "partition.linkage": "--linkage",
    "partition.beta": "--beta",
    "partition.size_weight": "--size-weight",
    "segment.minimum_object_size": "--minimum-object-size",
}


def sweep(
    config: ConfigFile = CONFIG,
    sample: Annotated[str | None, typer.Option(help="Only this sample. Default: all that have a truth.")] = None,
    time: Annotated[int | None, typer.Option(min=0, help="Only this time point. Default: all together.")] = None,
    method: Annotated[str | None, typer.Option(help="Methods to try, e.g. gasp,multicut,lifted_multicut.")] = None,
    linkage: Annotated[str | None, typer.Option(help="Linkages of gasp to try, e.g. mean,max.")] = None,
    beta: Annotated[
        str | None,
        typer.Option(help="Values of beta, e.g. 0.3,0.4, or FIRST:LAST:STEP. Default without --grid: 0.1:0.9:0.05."),
    ] = None,
    size_weight: Annotated[str | None, typer.Option(help="Size weights of multicut to try, e.g. 0,1.")] = None,
    minimum_object_size: Annotated[
        str | None, typer.Option(help="Smallest sizes of objects in voxels to try, e.g. 0,100,500.")
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Instead of these options: keys of partition and segment with lists of values, e.g. "
            "partition: {beta: [0.3, 0.4], lifted: {distance: [2, 4]}}; or a list of such grids.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="Score that decides: adapted_rand_error, voi, voi_split, voi_merge, sbd, ap50, map, precision, recall."
        ),
    ] = "adapted_rand_error",
    threads: Annotated[int | None, typer.Option(min=1, help="Configurations at once. Default: all cores.")] = None,
    as_json: AsJson = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all configurations as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the score over beta.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the best parameters into the configuration, whose comments stay.")
    ] = False,
) -> None:
    """Find the best parameters from partition to labels, without computing labels.

    The graph must have been made (`snakemake --until graph`) and a sample must have a truth. Voxels are read once, to
    count how many each supervoxel shares with the truth; after that every configuration takes one solve. The scores are
    those that the workflow would write. Parameters that are not named stay as configured; those that a method does not
    use are not multiplied.

    The graph of one time point is held in memory: about 0.1 kB per edge, and for each of --threads 0.2 kB more, 0.8 kB
    for multicut. A volume of 512³ voxels has about 2 million edges.
    """
    from bigseg.runner import StoppedError
    from bigseg.sweeping.ranking import as_csv, as_png, ranked, table
    from bigseg.sweeping.sweep import Sweep

    given = {
        key: text
        for key, text in zip(_OPTIONS, (method, linkage, beta, size_weight, minimum_object_size), strict=True)
        if text is not None
    }
    swept = Sweep(config, _grids(given, grid), by=by, sample=sample, time=time)
    try:
        scores = swept.scores(threads)
    except StoppedError as stopped:
        sys.stderr.write(f"{stopped}\n")
        raise typer.Exit(143) from stopped
    found = ranked(swept.choices, scores, by, swept.configured)
    if csv is not None:
        _write(csv, as_csv(found, by).encode(), "--csv")
    if plot is not None:
        _write(plot, as_png(found, by), "--plot")
    if as_json:
        configurations = [one.as_json() for one in found]
        typer.echo(
            json.dumps({"by": by, "times": swept.times, "best": configurations[0], "configurations": configurations})
        )
    else:
        typer.echo(table(found, by, swept.configured))
    if write:
        changed = swept.write(found[0].choice)
        sys.stderr.write(f"{config}: {'the best parameters are written' if changed else 'has the best parameters'}\n")


def _grids(given: dict[str, str], grid: Path | None) -> list[Values]:
    """The values to try, from the options or the file."""
    from bigseg.sweeping.choices import DEFAULT_BETA, parse_values, read_grid

    if grid is None:
        lists: dict[str, list[Any]] = {key: parse_values(text, _OPTIONS[key]) for key, text in given.items()}
        lists.setdefault("partition.beta", parse_values(DEFAULT_BETA, "--beta"))
        return [lists]
    if given:
        raise UserError(
            f"--grid and {_OPTIONS[next(iter(given))]}: the file names all that is tried", "leave out one of them"
        )
    return read_grid(grid)


def _write(path: Path, content: bytes, option: str) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be written ({error.strerror})", "choose another file") from error
