"""Stage ``pyramid``: coarser levels of image and labels, and the OME-Zarr metadata that make the result complete."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from bigseg.config.samples import owner
from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.grid import Grid
from bigseg.geometry.levels import pyramid_levels
from bigseg.layout import MADE_AGAIN
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    image_parameters,
    storage_parameters,
)
from bigseg.stages.track.settings import is_tracked
from bigseg.volumes.figures import read_figures

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray

VERSION = 1

Kind = Literal["image", "labels", "tracks"]

_FIRST = {"image": "ingest.blocks", "labels": "segment.blocks", "tracks": "track.blocks"}
"""The step that writes full resolution."""

_DTYPE = {"labels": "uint64", "tracks": "uint32"}


def image_axes(config: Config, plan: SamplePlan) -> str:
    """Axes of all levels of the result's image: those of the user's array where that is level 0."""
    level = plan.header.ome_zarr
    return "tczyx" if level is None or image_parameters(config, plan)["copy"] else level.axes


class PyramidBlocks(BlockStep):
    """Blocks of one level of the image or the labels, made from the level before."""

    stage, version = "pyramid", VERSION
    kind: ClassVar[Kind]
    level: ClassVar[int]

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The grids of this level and the one before."""
        levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, config.pyramid.smallest)
        stored = storage_parameters(plan)
        return {
            **stored,
            **(image_parameters(config, plan) if cls.kind == "image" and cls.level == 1 else {}),
            "shape": list(levels[cls.level].shape),
            "chunk_shape": [min(c, n) for c, n in zip(plan.chunk_shape, levels[cls.level].shape, strict=True)],
            "finer_shape": list(levels[cls.level - 1].shape),
            "factor": list(levels[cls.level].factor),
            "dtype": _DTYPE.get(cls.kind, plan.header.dtype),
            "channels": plan.header.number_of_channels if cls.kind == "image" else 1,
            "axes": image_axes(config, plan) if cls.kind == "image" else "tzyx",
        }

    def pieces_of(self, blocks: Collection[int], grid: Grid) -> list[int]:
        """Blocks of this level that pool voxels of blocks of the first."""
        scale = [_scale(n, coarse) for n, coarse in zip(grid.shape, self.grid.shape, strict=True)]
        found: set[int] = set()
        for block in blocks:
            box = grid.box(block)
            begin = triple([b // s for b, s in zip(box.begin, scale, strict=True)])
            end = triple([-(-e // s) for e, s in zip(box.end, scale, strict=True)])
            found.update(self.grid.touching(Box(begin, end)))
        return sorted(found)

    def needs_within(self, box: Box) -> list[Need]:
        """The blocks of the level before under this one."""
        finer = Grid(triple(self.parameters["finer_shape"]), self.grid.block_shape)
        before = f"pyramid.{self.kind}{self.level - 1}" if self.level > 1 else _FIRST[self.kind]
        return [Need(before, finer.touching(self._finer_box(box)), finer.number_of_blocks)]

    def empty_with(self, piece: int) -> list[Need]:
        """All under the block: of labels none, of an image the background that the sample names."""
        return self.needs(piece)

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """The level."""
        return [(self._store, self.parameters["channels"])]

    def process(self, piece: int) -> Outcome:
        """Pool a block: images by the mean, labels by the most frequent one."""
        from bigseg.kernels.downsample import mean_pool, mode_pool

        source, store = self._finer(), self._store
        pool = mean_pool if self.kind == "image" else mode_pool
        pooled = [
            pool(source.read(self.time, c, self._finer_box(self.grid.box(piece))), self._factor)
            for c in range(self.parameters["channels"])
        ]
        for channel, block in enumerate(pooled):
            store.write(self.time, channel, self.grid.box(piece), block)
        return Outcome(digest_arrays(*pooled))

    def rehash(self, piece: int, record: Record) -> str:
        """The voxels of all channels."""
        from bigseg.volumes.store import VolumeArray

        store = VolumeArray(self._path(self.level), self.parameters["axes"], self.grid.shape)
        channels = range(self.parameters["channels"])
        return digest_arrays(*(store.read(self.time, c, self.grid.box(piece)) for c in channels))

    @property
    def _factor(self) -> Triple:
        return triple(self.parameters["factor"])

    def _finer_box(self, box: Box) -> Box:
        limit = self.parameters["finer_shape"]
        begin = triple([b * f for b, f in zip(box.begin, self._factor, strict=True)])
        end = triple([min(e * f, n) for e, f, n in zip(box.end, self._factor, limit, strict=True)])
        return Box(begin, end)

    def _path(self, level: int) -> Path:
        match self.kind:
            case "image":
                return self.layout.image(level)
            case "labels":
                return self.layout.labels(level)
            case "tracks":
                return self.layout.tracks(level)

    def _finer(self) -> VolumeArray | Source:
        from bigseg.volumes.image import open_image
        from bigseg.volumes.store import VolumeArray

        finer = triple(self.parameters["finer_shape"])
        if self.kind == "image" and self.level == 1:
            return open_image(self.layout, self.parameters, finer)
        return VolumeArray(self._path(self.level - 1), self.parameters["axes"], finer)

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import coarse_image, stage_array

        if self.kind == "image":
            return coarse_image(self.layout, self._path(self.level), self.parameters, self.time, self.name)
        dtype = self.parameters["dtype"]
        return stage_array(self.layout, self._path(self.level), self.parameters, self.time, dtype, self.name)


def _scale(length: int, coarse: int) -> int:
    """The power of two by which an axis was divided, rounding up."""
    scale = 1
    while -(-length // scale) > coarse:
        scale *= 2
    return scale


@cache
def pyramid_step(kind: Kind, level: int) -> type[PyramidBlocks]:
    """The step of one level, named e.g. ``pyramid.labels2``."""
    return type(
        f"Pyramid{kind.title()}{level}", (PyramidBlocks,), {"step": f"{kind}{level}", "kind": kind, "level": level}
    )


def pyramid_step_named(name: str) -> type[PyramidBlocks] | None:
    """The step with a name such as ``labels2``, or None if it is no such name."""
    match = re.fullmatch(r"(image|labels|tracks)([1-9]\d*)", name)
    return pyramid_step(cast("Kind", match[1]), int(match[2])) if match else None


class PyramidMetadata(WholeStep):
    """Write the OME-Zarr 0.5 metadata, last of all: a result that is not whole is no OME-Zarr."""

    stage, step, version, per_time = "pyramid", "metadata", VERSION, False

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What the metadata say."""
        levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, config.pyramid.smallest)
        return {
            **image_parameters(config, plan),
            "axes": image_axes(config, plan),
            "blocks": plan.grid.number_of_blocks,
            "times": list(plan.times),
            "levels": [asdict(level) for level in levels],
            "block_shape": list(plan.grid.block_shape),
            "voxel_size_um": list(plan.voxel_size_um),
            "channels": list(plan.header.channels),
            "owner": owner(plan.sample),
            "name": plan.name,
            **({"tracks": True} if is_tracked(config, plan) else {}),
        }

    @property
    def _tracked(self) -> bool:
        return bool(self.parameters.get("tracks"))

    def needs(self, piece: int) -> list[Need]:
        """All levels of all time points."""
        block = triple(self.parameters["block_shape"])
        found = []
        for time in self.parameters["times"]:
            for number, level in enumerate(self.parameters["levels"]):
                blocks = range(Grid(triple(level["shape"]), block).number_of_blocks)
                kinds = ("image", "labels", "tracks") if self._tracked else ("image", "labels")
                steps = [f"pyramid.{kind}{number}" if number else _FIRST[kind] for kind in kinds]
                found += [Need(step, blocks, len(blocks), in_key=False, time=time) for step in steps]
        return found

    def process(self, piece: int) -> Outcome:
        """Write the groups' metadata; link the image's arrays where they are referenced."""
        from bigseg.volumes.ngff import write_result_metadata

        write_result_metadata(self.layout, self.parameters)
        return Outcome(digest_json(self.parameters))

    def rehash(self, piece: int, record: Record) -> str:
        """The groups' metadata, which follow from the parameters, and that the arrays they name open."""
        from bigseg.volumes.ngff import result_metadata
        from bigseg.volumes.store import VolumeArray

        for path, expected in result_metadata(self.layout, self.parameters).items():
            if read_figures(path) != json.loads(json.dumps(expected)):
                raise UserError(f"{path}: holds other metadata than were written", MADE_AGAIN)
        for number, level in enumerate(self.parameters["levels"]):
            shape = triple(level["shape"])
            VolumeArray(self.layout.image(number), self.parameters["axes"], shape)
            VolumeArray(self.layout.labels(number), "tzyx", shape)
            if self._tracked:
                VolumeArray(self.layout.tracks(number), "tzyx", shape)
        return digest_json(self.parameters)

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the metadata and all levels that they name are still there."""
        levels = range(len(self.parameters["levels"]))
        places = [self.layout.image, self.layout.labels, *([self.layout.tracks] if self._tracked else [])]
        arrays = [place(level) for level in levels for place in places]
        groups = [self.layout.result, self.layout.labels().parents[1], *(place(0).parent for place in places[1:])]
        return all((folder / "zarr.json").exists() for folder in (*arrays, *groups))
