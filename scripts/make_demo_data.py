"""Write a synthetic tissue with known truth as ImageJ TIFFs: ``tissue_t0.tif``, ``truth_t0.tif`` and so on.

The voxels are those of :class:`bigseg.kernels.tissue.Tissue`, a plant-like tissue with stained walls. Files are written
slab by slab and renamed when complete. A second run with the same parameters, which ``tissue.json`` beside the files
records, writes only what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bigseg.geometry.box import Box
from bigseg.kernels.tissue import Tissue

VERSION = 1
"""To be raised whenever the same parameters give other voxels."""
LARGEST_ID = 65_535
"""ImageJ knows no integers beyond uint16."""


def planes(tissue: Tissue, t: int, kind: str) -> Iterator[np.ndarray[Any, Any]]:
    """The planes (y, x) of one time point, uint8 of ``kind`` "tissue" or uint16 of "truth"; a slab is in memory."""
    depth, height, width = tissue.shape
    for z in range(0, depth, tissue.tile_shape[0]):
        slab = Box((z, 0, 0), (min(z + tissue.tile_shape[0], depth), height, width))
        yield from tissue.image(slab, t) if kind == "tissue" else tissue.labels(slab, t).astype(np.uint16)


def write_tiff(path: Path, tissue: Tissue, t: int, kind: str) -> None:
    """Write one volume with its voxel size under a temporary name, then rename it to ``path``."""
    z, y, x = tissue.voxel_size_um
    partial = path.with_name(path.name + ".part")
    with tifffile.TiffWriter(partial, imagej=True) as writer:
        writer.write(
            planes(tissue, t, kind),
            shape=tissue.shape,
            dtype=np.uint8 if kind == "tissue" else np.uint16,
            resolution=(1 / x, 1 / y),
            metadata={"axes": "ZYX", "spacing": z, "unit": "micron"},
        )
    partial.replace(path)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write ``record`` as JSON under a temporary name, then rename it to ``path``."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def make(folder: Path, tissue: Tissue, times: int) -> None:
    """Bring ``folder`` up to date with ``tissue`` at ``times`` time points, and tell what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    record_file = folder / "tissue.json"
    # Through JSON, so that tuples compare equal to the lists that come back from the file.
    parameters = json.loads(json.dumps({"version": VERSION, **asdict(tissue)}))
    complete: list[str] = []
    if record_file.is_file():
        record = json.loads(record_file.read_text(encoding="utf-8"))
        complete = record["files"] if record["parameters"] == parameters else []
    wanted = [f"{kind}_t{t}.tif" for t in range(times) for kind in ("tissue", "truth")]
    for name in wanted:
        path = folder / name
        if name in complete and path.is_file():
            print(f"kept   {path}")
            continue
        # Taken off the record first: a run that is killed here must not leave old voxels that count as new ones.
        complete = [other for other in complete if other != name]
        write_record(record_file, {"parameters": parameters, "files": complete})
        kind, _, t = path.stem.partition("_t")
        write_tiff(path, tissue, int(t), kind)
        complete = sorted([*complete, name])
        write_record(record_file, {"parameters": parameters, "files": complete})
        print(f"wrote  {path}  {' × '.join(map(str, tissue.shape))} voxels, {path.stat().st_size / 1e6:.1f} MB")
    others = sorted(
        p.name for kind in ("tissue", "truth") for p in folder.glob(f"{kind}_t*.tif") if p.name not in wanted
    )
    if stale := [name for name in others if name not in complete]:
        print(f"beware: {', '.join(stale)} in {folder} belong to other parameters")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="OUT_FOLDER", help="where to write; created if need be")
    parser.add_argument(
        "--shape", type=int, nargs=3, default=(64, 192, 192), metavar=("Z", "Y", "X"), help="voxels (64 192 192)"
    )
    parser.add_argument("--times", type=int, default=2, metavar="N", help="time points (2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another number, another tissue (0)")
    arguments = parser.parse_args()
    z, y, x = arguments.shape
    try:
        tissue = Tissue((z, y, x), seed=arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    if arguments.times < 1:
        parser.error("--times must be at least 1")
    if tissue.max_id > LARGEST_ID:
        parser.error(
            f"--shape {z} {y} {x} has room for {tissue.max_id} cells, more than the {LARGEST_ID} of ImageJ TIFF"
        )
    make(arguments.folder, tissue, arguments.times)


if __name__ == "__main__":
    main()
