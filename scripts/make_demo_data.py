"""Write a synthetic tissue with known truth as TIFFs: ``tissue_t0.tif``, ``truth_t0.tif`` and so on.

The voxels are those of :class:`bigseg.kernels.synthetic.tissue.Tissue`, a plant-like tissue with stained walls. With
``--movie`` they are those of :class:`bigseg.kernels.synthetic.tissue_movie.TissueMovie`: cells move, divide and die:
``movie_t0_c0.tif`` (walls), ``movie_t0_c1.tif`` (nuclei), ``truth_t0.tif`` and so on, and ``truth_lineage.txt`` with a
line for each cell that is seen (label, first and last time point, label of the mother or 0). Without other options
the tissue is that of ``make demo``; its movie is that of seed 7.

Files are written slab by slab and renamed when complete. A second run with the same parameters, which ``tissue.json``
beside the files records, writes only what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bigseg.geometry.box import Box
from bigseg.kernels.lineage import appearing, restrict
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.kernels.synthetic.tissue_movie import MEMBRANES, NUCLEI, TissueMovie

VERSION = 1
"""To be raised whenever the same parameters give other voxels."""
LARGEST_ID = 65_535
"""ImageJ knows no integers beyond uint16."""
LINEAGE = "truth_lineage.txt"


Slabs = Callable[[Box], np.ndarray[Any, Any]]
"""The voxels (z, y, x) of a box."""


def planes(volume: Tissue | TissueMovie, slabs: Slabs, dtype: type[Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The planes (y, x) of a volume; a slab is in memory."""
    depth, height, width = volume.shape
    for z in range(0, depth, volume.tile_shape[0]):
        yield from slabs(Box((z, 0, 0), (min(z + volume.tile_shape[0], depth), height, width))).astype(dtype)


def write_tiff(path: Path, volume: Tissue | TissueMovie, slabs: Slabs, dtype: type[np.integer[Any]]) -> None:
    """Write one volume with its voxel size under a temporary name, then rename it to ``path``."""
    z, y, x = volume.voxel_size_um
    unfinished = path.with_name(path.name + ".part")
    size: dict[str, Any] = {"axes": "ZYX", "spacing": z, "unit": "micron"}
    if dtype is np.uint32:  # which ImageJ does not know
        size = {"axes": "ZYX"}
        for axis, length in zip("ZYX", (z, y, x), strict=True):
            size |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "µm"}
    with tifffile.TiffWriter(unfinished, imagej=dtype is not np.uint32, ome=dtype is np.uint32) as writer:
        writer.write(
            planes(volume, slabs, dtype), shape=volume.shape, dtype=dtype, resolution=(1 / x, 1 / y), metadata=size
        )
    unfinished.replace(path)


Files = dict[str, tuple[Slabs, type[np.integer[Any]]]]
"""What a folder is to hold: the voxels of each file and their type, which is uint32 only where ids ask for it."""


def still_files(tissue: Tissue, times: int) -> Files:
    """The files of a tissue in which nothing divides."""
    files: Files = {}
    for t in range(times):
        files[f"tissue_t{t}.tif"] = (partial(tissue.image, t=t), np.uint8)
        files[f"truth_t{t}.tif"] = (partial(tissue.labels, t=t), np.uint16)
    return files


def movie_files(movie: TissueMovie) -> Files:
    """The files of a movie, but for the lineage."""
    ids = np.uint16 if movie.max_id <= LARGEST_ID else np.uint32
    files: Files = {}
    for t in range(movie.times):
        for channel in (MEMBRANES, NUCLEI):
            files[f"movie_t{t}_c{channel}.tif"] = (partial(movie.image, t=t, channel=channel), np.uint8)
        files[f"truth_t{t}.tif"] = (partial(movie.labels, t=t), ids)
    return files


def write_lineage(path: Path, folder: Path, movie: TissueMovie) -> None:
    """Write the cells that are seen in the files of the truth, in the columns of the Cell Tracking Challenge."""

    def seen(t: int) -> np.ndarray[Any, Any]:
        found = np.zeros(0, np.uint64)
        with tifffile.TiffFile(folder / f"truth_t{t}.tif") as file:
            for page in file.pages:
                found = np.union1d(found, page.asarray()).astype(np.uint64)
        return found

    lineage = restrict(movie.lineage(), appearing((t, seen(t)) for t in range(movie.times)))
    columns = np.stack([lineage.track.astype(np.int64), lineage.start, lineage.end, lineage.parent.astype(np.int64)])
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text("".join(f"{i} {b} {e} {p}\n" for i, b, e, p in columns.T), encoding="ascii")
    unfinished.replace(path)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write ``record`` as JSON under a temporary name, then rename it to ``path``."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def make(folder: Path, volume: Tissue | TissueMovie, files: Files) -> None:
    """Bring ``folder`` up to date with ``files`` of ``volume``, and tell what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    record_file = folder / "tissue.json"
    # Through JSON, so that tuples compare equal to the lists that come back from the file.
    parameters = json.loads(json.dumps({"version": VERSION, **asdict(volume)}))
    complete: list[str] = []
    if record_file.is_file():
        record = json.loads(record_file.read_text(encoding="utf-8"))
        complete = record["files"] if record["parameters"] == parameters else []
    wanted = [*files, *([LINEAGE] if isinstance(volume, TissueMovie) else [])]
    for name in wanted:
        path = folder / name
        if name in complete and path.is_file():
            print(f"kept   {path}")
            continue
        # Taken off the record first: a run that is killed here must not leave old voxels that count as new ones.
        complete = [other for other in complete if other != name]
        write_record(record_file, {"parameters": parameters, "files": complete})
        if name in files:
            write_tiff(path, volume, *files[name])
            what = f"{' × '.join(map(str, volume.shape))} voxels, {path.stat().st_size / 1e6:.1f} MB"
        elif isinstance(volume, TissueMovie):
            write_lineage(path, folder, volume)
            what = "cells, their time and their mothers"
        complete = sorted([*complete, name])
        write_record(record_file, {"parameters": parameters, "files": complete})
        print(f"wrote  {path}  {what}")
    known = [p.name for kind in ("tissue", "truth", "movie") for p in folder.glob(f"{kind}_*") if p.suffix != ".part"]
    if stale := sorted(name for name in known if name not in wanted and name not in complete):
        print(f"beware: {', '.join(stale)} in {folder} belong to other parameters")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="OUT_FOLDER", help="where to write; created if need be")
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels (64 192 192; with --movie 48 96 128)"
    )
    parser.add_argument("--times", type=int, metavar="N", help="time points (2; with --movie 6)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another number, another tissue (0)")
    parser.add_argument("--movie", action="store_true", help="cells that move, divide and die, and their lineage")
    movie = parser.add_argument_group("with --movie")
    movie.add_argument(
        "--voxel-size",
        type=float,
        nargs=3,
        default=(0.5, 0.25, 0.25),
        metavar=("Z", "Y", "X"),
        help="µm (0.5 0.25 0.25)",
    )
    movie.add_argument("--diameter", type=float, default=12.0, metavar="UM", help="mean cell at the start, µm (12)")
    movie.add_argument("--division-rate", type=float, default=0.04, metavar="P", help="per cell and time point (0.04)")
    movie.add_argument("--death-rate", type=float, default=0.005, metavar="P", help="per cell and time point (0.005)")
    movie.add_argument(
        "--drift",
        type=float,
        nargs=3,
        default=(0.0, 0.5, 0.8),
        metavar=("Z", "Y", "X"),
        help="voxels per time point (0 0.5 0.8)",
    )
    movie.add_argument("--growth", type=float, default=0.01, metavar="G", help="of lengths per time point (0.01)")
    movie.add_argument("--photons", type=float, default=100.0, metavar="N", help="fewer, more noise (100)")
    movie.add_argument(
        "--organ", action="store_true", help="a rounded organ with nothing around it, not endless tissue"
    )
    arguments = parser.parse_args()
    z, y, x = arguments.shape or ((48, 96, 128) if arguments.movie else (64, 192, 192))
    times = (6 if arguments.movie else 2) if arguments.times is None else arguments.times
    if times < 1:
        parser.error("--times must be at least 1")
    try:
        if arguments.movie:
            moving = TissueMovie(
                (z, y, x),
                times,
                voxel_size_um=tuple(arguments.voxel_size),
                cell_diameter_um=arguments.diameter,
                division_rate=arguments.division_rate,
                death_rate=arguments.death_rate,
                drift=tuple(arguments.drift),
                growth=arguments.growth,
                outline=arguments.organ,
                photons=arguments.photons,
                seed=arguments.seed,
            )
            make(arguments.folder, moving, movie_files(moving))
            return
        tissue = Tissue((z, y, x), seed=arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    if tissue.max_id > LARGEST_ID:
        parser.error(
            f"--shape {z} {y} {x} has room for {tissue.max_id} cells, more than the {LARGEST_ID} of ImageJ TIFF"
        )
    make(arguments.folder, tissue, still_files(tissue, times))


if __name__ == "__main__":
    main()
