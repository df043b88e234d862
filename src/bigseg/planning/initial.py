"""A first configuration fitted to an input."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bigseg.config import validate_config
from bigseg.config.documents import default_yaml
from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Triple
from bigseg.geometry.grid import Grid
from bigseg.networks.shipped import find_shipped
from bigseg.planning.resources import memory_mb
from bigseg.planning.sample import plan_sample
from bigseg.planning.stains import MEANINGS, STAINS, Stain
from bigseg.resume.files import replacing
from bigseg.stages import find_step, steps_of
from bigseg.volumes.label_files import split_key
from bigseg.volumes.source import open_source

_CHECKOUT = Path(__file__).parents[3]
"""The checkout that bigseg was installed from; it holds the Snakefile."""


def write_initial_config(
    folder: Path,
    input_path: str,
    key: str | None,
    axes: str | None,
    name: str | None,
    truth: str | None,
    memory_gb: float,
    *,
    stain: Stain = "membrane",
    segmentation: str | None = None,
    model: str | None = None,
    force: bool,
) -> list[str]:
    """Write ``config.yaml``, and beside it a ``Snakefile`` and a link to the profile, so that ``snakemake`` runs there.

    Args:
        folder: folder to write to, made if needed.
        input_path: the image.
        key: dataset in a container.
        axes: order of axes, where the file does not say.
        name: name of the sample; the file's by default.
        truth: label volume to score against.
        memory_gb: memory that one job may use.
        stain: what is stained; it chooses how boundaries and background are told.
        segmentation: label volume that is the segmentation, so that none is made.
        model: network that makes the boundary map, instead of what ``stain`` chooses.
        force: whether an existing configuration is replaced.

    Returns:
        What was found and chosen, line by line.

    Raises:
        UserError: the input cannot be read, or the folder has a configuration already or cannot be written.
    """
    target = refuse_existing(folder, force=force)
    spec = _input(input_path, key, axes)
    with open_source(spec) as source:
        header = source.header
    sample: dict[str, Any] = {"input": spec.model_dump(exclude_none=True)}
    lines = [f"{input_path}: (t, c, z, y, x) = {header.shape}, {header.dtype}"]
    if header.voxel_size_um is None:
        sample["input"]["voxel_size_um"] = [1.0, 1.0, 1.0]
        lines.append("  voxel size unknown: 1 µm cubes are assumed; correct voxel_size_um in config.yaml")
    else:
        lines.append(f"  voxel size (z, y, x) {list(header.voxel_size_um)} µm")
    # What tells the axes of the image tells those of its labels, unless the image has channels.
    told = {"axes": axes} if axes is not None and "c" not in axes else {}
    if truth is not None:
        sample["truth"] = {**_labels(truth), **told}
    if segmentation is not None:
        sample["segmentation"] = {**_labels(segmentation), **told}
    sample_name = name or _sample_name(input_path)
    sections = STAINS[stain] if model is None else {"predict": {"method": "network", "model": _model(model)}}
    # What a network needs depends on its patches, not on the blocks.
    block, missing = _fit(sample_name, sample, STAINS[stain], memory_gb)
    sections = {**sections, "blocks": {"block_shape": list(block)}}
    if model is not None:
        _check(sample_name, sample, sections)
    text = default_yaml({sample_name: sample}, **sections)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_snakefile(folder)
    blocks = Grid(header.volume_shape, block).number_of_blocks
    lines += [
        _how(stain, segmentation, model),
        f"  {blocks} blocks of {list(block)} voxels",
        *(f"  beware: time point {time} cannot be read: {why}" for time, why in missing.items()),
        *([f"  to leave them out set samples.{sample_name}.missing_times to skip"] if missing else []),
        f"wrote {target}",
        f"next: cd {shlex.quote(str(folder))} && snakemake --cores all",
    ]
    return lines


def refuse_existing(folder: Path, *, force: bool) -> Path:
    """Where the configuration of a folder is to be written.

    Raises:
        UserError: there is one already, or nothing could run from there.
    """
    target = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file", "name a folder, which is made if needed")
    if target.exists() and not force:
        raise UserError(f"{target}: exists already", "choose another folder, or give --force")
    if not (_CHECKOUT / "workflow" / "Snakefile").is_file():
        raise UserError(
            f"{_CHECKOUT} holds no workflow/Snakefile: bigseg was not installed from a checkout",
            "clone the repository and install it with `pip install --editable .`",
        )
    return target


def write_snakefile(folder: Path) -> None:
    """Let ``snakemake`` find the workflow from the folder, with the profiles of the checkout."""
    snakefile = folder / "Snakefile"
    if snakefile.exists():
        return
    with replacing(snakefile) as temporary:
        temporary.write_text(
            f"include: {str(_CHECKOUT / 'workflow' / 'Snakefile')!r}\n\n\n"
            "rule default:\n    input:\n        rules.all.input,\n    default_target: True\n    localrule: True\n",
            encoding="utf-8",
        )
    for link, profile in (("profiles", "profiles"), ("slurm", "profiles/slurm")):
        if not (folder / link).exists():
            (folder / link).symlink_to(_CHECKOUT / profile, target_is_directory=True)


def _labels(text: str) -> dict[str, Any]:
    """What the user means by a label volume, ``FILE`` or ``FILE:KEY``."""
    path, key = split_key(text)
    return {"path": _absolute(path)} if key is None else {"path": _absolute(path), "key": key}


def _input(path: str, key: str | None, axes: str | None) -> Input:
    """What the user means by ``--input``, ``--key`` and ``--axes``."""
    try:
        return Input(path=_absolute(path), key=key, axes=axes)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"--{first['loc'][0]}: {first['input']!r} is not allowed: {message}", "see `bigseg init --help`"
        ) from error


def _fit(
    name: str, sample: dict[str, Any], sections: dict[str, dict[str, Any]], memory_gb: float
) -> tuple[Triple, dict[int, str]]:
    """The largest block that every job has the memory for: the longest axis is halved, to whole 64 voxels.

    What planning would refuse later, e.g. a truth of another shape, is refused here; time points that cannot be read
    are given with the reason, because it takes the configuration to leave them out.
    """
    sides: list[int] | None = None
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"work": f"{scratch}/work", "results": f"{scratch}/results"}
        while True:
            config = validate_config(
                {
                    "samples": {name: {**sample, "missing_times": "skip"}},
                    **sections,
                    "blocks": {"block_shape": sides or "auto"},
                    **folders,
                },
                "bigseg init",
            )
            plan = plan_sample(config, name)
            sides = list(plan.grid.block_shape)
            kinds = [kind for kind in map(find_step, steps_of(config, plan)) if kind.in_batches]
            steps = [kind(kind.resolve(config, plan), plan.layout, 0) for kind in kinds]
            axis = sides.index(max(sides))
            halved = -(-sides[axis] // 128) * 64
            enough = all(memory_mb(plan, step, config.execution.threads, 1) <= 1000 * memory_gb for step in steps)
            if enough or halved >= sides[axis]:
                return plan.grid.block_shape, plan.skipped
            sides[axis] = halved


def _check(name: str, sample: dict[str, Any], sections: dict[str, dict[str, Any]]) -> None:
    """Refuse what planning would refuse later, e.g. a model that does not fit the image."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"work": f"{scratch}/work", "results": f"{scratch}/results"}
        samples = {name: {**sample, "missing_times": "skip"}}
        plan_sample(validate_config({"samples": samples, **sections, **folders}, "bigseg init"), name)


def _how(stain: Stain, segmentation: str | None, model: str | None) -> str:
    """What makes the segmentation."""
    if segmentation is not None:
        return f"  segmented already: {segmentation}"
    return f"  settings for {MEANINGS[stain]}" if model is None else f"  boundary map of the network {model}"


def _model(model: str) -> str:
    """A model as the configuration names it: one that lies here by its absolute path, others by their name.

    A folder of the user's own that is named like a model of bigseg's is ``./name``, as in the configuration.
    """
    if find_shipped(model) is not None or not Path(model).expanduser().exists():
        return model
    return _absolute(model)


def _absolute(path: str) -> str:
    """An absolute path, so that the configuration works from any folder; patterns stay patterns."""
    return os.path.abspath(Path(path).expanduser())


def _sample_name(path: str) -> str:
    """A legal sample name from a file name: of ``embryo_t{t}_c{c}.tif`` it is ``embryo``."""
    stem = re.sub(r"((^|[-_])[tczTCZ])?\{[tcz]\}|\*", "", Path(path).name.split(".")[0])
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "sample"
