"""Supervoxels by distance-transform watershed, block by block."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.grid import supervoxel_id_range
from bigseg.layout import MADE_AGAIN
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, storage_parameters
from bigseg.stages.supervoxels.crest import Crest, crest_parameters
from bigseg.stages.supervoxels.foreground import foreground_level
from bigseg.stages.supervoxels.settings import (
    foreground_parameters,
    supervoxel_halo,
    supervoxel_reach,
    watershed_sampling,
)

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray


class SupervoxelsBlocks(BlockStep):
    """Supervoxels of a block; their ids never depend on another block."""

    stage, step, version = "supervoxels", "blocks", 1
    passing = ("supervoxels.zarr",)
    opens = ("_mask",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The settings, with halo and voxel proportions worked out."""
        settings = config.supervoxels.model_dump(exclude={"foreground_threshold", "foreground_window", "crest"})
        foreground, crest = foreground_parameters(config, plan), crest_parameters(config, plan)
        del settings["anisotropic"], settings["halo"]
        return {
            **storage_parameters(plan),
            **settings,
            "sampling": [round(s, 6) for s in watershed_sampling(config, plan)],
            "halo": supervoxel_halo(config, plan),
            "mask": plan.sample.mask.place() if plan.sample.mask else None,
            **({} if foreground is None else {"foreground": foreground}),
            **({} if crest is None else {"crest": crest}),
        }

    def needs_within(self, box: Box) -> list[Need]:
        """The maps of the block and its halo, and maybe the image; of figures of the time point only their value."""
        outer, blocks = self._outer(box), self.grid.number_of_blocks
        found = [Need("predict.blocks", self.grid.touching(self._seen(box)), blocks)]
        if self._crest is not None:
            found.append(Need("ingest.blocks", self.grid.touching(outer), blocks))
            found.append(Need("ingest.statistics", [0], in_key=False))
        if self._foreground is not None and self._foreground["threshold"] == "otsu":
            found.append(Need("supervoxels.threshold", [0], in_key=False))
        return found

    def evidence(self, piece: int) -> str:
        """The mask in the block and its halo, the threshold of the foreground, the intensities of the crest."""
        mask = self._read_mask(self._outer(self.grid.box(piece)))
        found = "" if mask is None else digest_arrays(mask)
        if self._foreground is not None:
            found = digest_json([found, self._level])
        return found if self._crest is None else digest_json([found, self._crest.limits])

    def empty_with(self, piece: int) -> list[Need]:
        """The block's maps: they are empty where nothing of the image counts."""
        return [Need("predict.blocks", [piece], self.grid.number_of_blocks)]

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """Labels, and where they go on."""
        return [(self._store, 1), (self._continues, 1)]

    def process_empty(self, piece: int) -> Outcome:
        """No supervoxels."""
        import numpy as np

        shape = self.grid.box(piece).shape
        return self._write(piece, np.zeros(shape, np.uint32), 0, np.zeros(shape, np.uint8))

    def process(self, piece: int) -> Outcome:
        """Watershed in the block with its halo, cut to the block, ids made unique by the block's number."""
        import numpy as np

        from bigseg.kernels.faces import continuing
        from bigseg.kernels.watershed import crop_and_split, distance_watershed, stacked_watershed
        from bigseg.volumes.image import read_boundary

        box = self.grid.box(piece)
        outer = self._outer(box)
        mask, foreground = self._read_mask(outer), self._read_foreground(box)
        if foreground is not None:
            mask = foreground if mask is None else mask & foreground
        if mask is not None and not mask[box.inside(outer).slices].any():
            return self.process_empty(piece)
        boundary = read_boundary(self.layout, self.time, outer, self.grid.shape)
        if foreground is not None:
            boundary[~foreground] = 255  # distances are those to the background, too
        planes = self.parameters["dimension"] == "stacked_2d"
        run = stacked_watershed if planes else distance_watershed
        z, y, x = self.parameters["sampling"]
        probability = boundary.astype(np.float32) / np.float32(255)
        labels = run(
            probability,
            threshold=self.parameters["threshold"],
            sigma_seeds=self.parameters["sigma_seeds"],
            sigma_weights=self.parameters["sigma_weights"],
            alpha=self.parameters["alpha"],
            minimum_size=self.parameters["minimum_size"],
            sampling=(z, y, x),
            mask=mask,
        )
        if self._crest is not None:
            labels = self._crest.draw(
                labels, probability, outer, self.grid.shape, sampling=(z, y, x), mask=mask, planes=planes
            )
        inner = box.inside(outer).slices
        continues = continuing(labels, inner)
        return self._write(piece, *crop_and_split(labels, inner), continues)

    def _write(self, piece: int, local: np.ndarray, count: int, continues: np.ndarray) -> Outcome:
        """Store supervoxels, numbered within the block, and where they go on."""
        import numpy as np

        box = self.grid.box(piece)
        ids = local.astype(np.uint64)
        ids[ids > 0] += np.uint64(supervoxel_id_range(piece)[0])
        self._store.write(self.time, 0, box, ids)
        self._continues.write(self.time, 0, box, continues)
        note = {"supervoxels": count}
        return Outcome(digest_arrays(local, continues), note if count else {**note, "empty": True})

    def rehash(self, piece: int, record: Record) -> str:
        """Both arrays; ids without the number of the block."""
        import numpy as np

        from bigseg.volumes.store import VolumeArray

        box = self.grid.box(piece)
        ids, continues = (
            VolumeArray(path, "tzyx", self.grid.shape).read(self.time, 0, box)
            for path in (self.layout.supervoxels, self.layout.continues)
        )
        first, past = supervoxel_id_range(piece)
        foreign = (ids > 0) & ((ids <= np.uint64(first)) | (ids >= np.uint64(past)))
        if foreign.any():
            raise UserError(f"{self.layout.supervoxels}: holds {ids[foreign][0]}, no id of block {piece}", MADE_AGAIN)
        local = np.where(ids > 0, ids - np.uint64(first), np.uint64(0)).astype(np.uint32)
        return digest_arrays(local, continues)

    def _outer(self, box: Box) -> Box:
        halo: Triple = triple(self.parameters["halo"])
        return box.grow(halo, halo, self.grid.shape)

    def _seen(self, box: Box) -> Box:
        """The blocks of a box and all that their supervoxels look at."""
        reach = supervoxel_reach(self.parameters["halo"], self._foreground)
        return box.grow(reach, reach, self.grid.shape)

    @property
    def _foreground(self) -> Parameters | None:
        """How foreground is told, None where all is."""
        return self.parameters.get("foreground")

    @cached_property
    def _crest(self) -> Crest | None:
        """The image, where boundaries are drawn on its crest."""
        told = self.parameters.get("crest")
        return None if told is None else Crest(self.layout, self.time, told)

    @cached_property
    def _level(self) -> int:
        """The lowest foreground value, read once per job."""
        return foreground_level(self.layout, self.time, self.parameters["foreground"])

    def _read_foreground(self, box: Box) -> np.ndarray | None:
        """Which voxels of a block with its halo are foreground."""
        from bigseg.kernels.foreground import is_foreground
        from bigseg.volumes.image import read_foreground

        if self._foreground is None:
            return None
        wide, inner = self._seen(box), self._outer(box)
        values = read_foreground(self.layout, self.time, wide, self.grid.shape, self._foreground["map"])
        return is_foreground(values, self._level, self._foreground["window"], inner.inside(wide).slices)

    def _read_mask(self, box: Box) -> np.ndarray | None:
        return None if self._mask is None else self._mask.read(self.time, 0, box) != 0

    @cached_property
    def _mask(self) -> Source | None:
        """The mask, opened once per job."""
        return self.open_given("mask")

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.supervoxels, self.parameters, self.time, "uint64", self.name)

    @cached_property
    def _continues(self) -> VolumeArray:
        """The second array that is written."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.continues, self.parameters, self.time, "uint8", self.name)
