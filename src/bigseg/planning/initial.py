"""A first configuration fitted to an input."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any

from bigseg.config import validate_config
from bigseg.config.documents import default_yaml
from bigseg.config.models import Blocks
from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Triple
from bigseg.geometry.grid import Grid
from bigseg.planning.blocks import choose_shapes
from bigseg.planning.resources import bytes_per_voxel
from bigseg.planning.sample import plan_sample
from bigseg.resume.files import replacing
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
        force: whether an existing configuration is replaced.

    Returns:
        What was found and chosen, line by line.

    Raises:
        UserError: the input cannot be read, or the folder has a configuration already or cannot be written.
    """
    target = folder / "config.yaml"
    if target.exists() and not force:
        raise UserError(f"{target}: exists already", "choose another folder, or give --force")
    spec = Input(path=_absolute(input_path), key=key, axes=axes)
    with open_source(spec) as source:
        header = source.header
    block, _ = choose_shapes("", header.volume_shape, Blocks())
    block = _fit(block, header.volume_shape, memory_gb)
    sample: dict[str, Any] = {"input": spec.model_dump(exclude_none=True)}
    lines = [f"{input_path}: (t, c, z, y, x) = {header.shape}, {header.dtype}"]
    if header.voxel_size_um is None:
        sample["input"]["voxel_size_um"] = [1.0, 1.0, 1.0]
        lines.append("  voxel size unknown: 1 µm cubes are assumed; correct voxel_size_um in config.yaml")
    else:
        lines.append(f"  voxel size (z, y, x) {list(header.voxel_size_um)} µm")
    if truth is not None:
        file, colon, dataset = truth.rpartition(":")
        inside = bool(colon) and Path(file).exists()
        sample["truth"] = {"path": _absolute(file), "key": dataset} if inside else {"path": _absolute(truth)}
    sample_name = name or _sample_name(input_path)
    text = default_yaml({sample_name: sample}, blocks={"block_shape": list(block)})
    _check(text, folder, sample_name)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    _write_snakefile(folder)
    blocks = Grid(header.volume_shape, block).number_of_blocks
    lines += [
        f"  {blocks} blocks of {list(block)} voxels",
        f"wrote {target}",
        f"next: cd {folder} && snakemake --cores all",
    ]
    return lines


def _check(text: str, folder: Path, sample: str) -> None:
    """Refuse now what planning would refuse later, e.g. a truth of another shape."""
    import tempfile

    import yaml

    settings = yaml.safe_load(text)
    with tempfile.TemporaryDirectory() as scratch:
        plan_sample(
            validate_config({**settings, "work": f"{scratch}/work", "results": f"{scratch}/results"}, str(folder)),
            sample,
        )


def _write_snakefile(folder: Path) -> None:
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


def _fit(block: Triple, volume: Triple, memory_gb: float) -> Triple:
    """Halve the longest axis of a block until its heaviest stage fits, to multiples of 64 voxels."""
    sides = list(block)
    while prod(min(n, b + 64) for n, b in zip(volume, sides, strict=True)) * bytes_per_voxel() > memory_gb * 1e9:
        axis = sides.index(max(sides))
        halved = max(64, -(-sides[axis] // 2) // 64 * 64)
        if halved >= sides[axis]:
            break
        sides[axis] = halved
    z, y, x = sides
    return (z, y, x)


def _absolute(path: str) -> str:
    """An absolute path, so that the configuration works from any folder; patterns stay patterns."""
    return str(Path(path).expanduser().absolute())


def _sample_name(path: str) -> str:
    """A legal sample name from a file name."""
    stem = Path(path).name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", re.sub(r"\{[tcz]\}|\*", "", stem)).strip("-_") or "sample"
