"""The maps of blocks: the boundary map, and what else a network makes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.halo import smoothing_halo
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.ingest import background_parameters, read_histogram
from bigseg.stages.predict.network import IN_FLIGHT, NetworkRun, needed_box, needed_within, network_parameters
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    image_parameters,
    storage_parameters,
)
from bigseg.stages.supervoxels.settings import foreground_parameters, supervoxel_halo, supervoxel_reach

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray


_INTENSITY = ("method", "channel", "invert", "percentiles", "sigma")


class PredictBlocks(BlockStep):
    """The maps of a block.

    Method ``intensity``: the smoothed, globally normalised image is the boundary map. ``network``: a model makes it.
    """

    stage, step, version = "predict", "blocks", 1
    passing = ("predict.zarr",)
    opens = ("_mask",)
    looked_up_by = ("model",)  # its digest counts
    leaving_out = ("mask", "background")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The settings of the method, with the smoothing per axis in voxels, or with the model's needs."""
        if config.predict.method == "network":
            return {
                **storage_parameters(plan),
                **image_parameters(config, plan),
                **network_parameters(config, plan),
                **_counting_parameters(config, plan),
            }
        settings = {key: value for key, value in config.predict.model_dump().items() if key in _INTENSITY}
        sigma = settings.pop("sigma")
        per_axis = [round(sigma / s, 6) for s in plan.sampling]
        return {
            **storage_parameters(plan),
            **image_parameters(config, plan),
            **settings,
            "dtype": plan.header.dtype,
            "sigma": per_axis,
            "halo": list(smoothing_halo(per_axis)),
            **_counting_parameters(config, plan),
        }

    @property
    def _halo(self) -> Triple:
        return triple(self.parameters["halo"])

    def needs_within(self, box: Box) -> list[Need]:
        """The image within reach; of the statistics only what is used."""
        if self._network is None:
            needed = box.grow(self._halo, self._halo, self.grid.shape)
        else:
            needed = needed_within(self.parameters, self._network.tiling, self.grid, box)
        return [
            Need("ingest.blocks", self.grid.touching(needed), self.grid.number_of_blocks),
            Need("ingest.statistics", [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The intensities that become 0 and 1, or the numbers of the network's pre-processing."""
        return digest_json(self._limits if self._network is None else self._network.operations)

    def empty_with(self, piece: int) -> list[Need]:
        """The block's image, where the sample names a background."""
        if "background" not in self.parameters:
            return []
        return [Need("ingest.blocks", [piece], self.grid.number_of_blocks)]

    def left_out(self, piece: int) -> bool:
        """Whether no supervoxel is made with the maps of a block: with a mask it may lie too far from all of them."""
        if self._mask is None:
            return False
        if piece not in self._left_out:
            reach = triple(self.parameters["mask"]["reach"])
            seen = self.grid.box(piece).grow(reach, reach, self.grid.shape)
            self._left_out[piece] = not self._mask.read(self.time, 0, seen).any()
        return self._left_out[piece]

    def place_of(self, role: str) -> Parameters | None:
        """Of the mask the parameters tell more than where it lies."""
        found = super().place_of(role)
        return found["input"] if found and role == "mask" else found

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """All maps."""
        if self._network is None:
            return [(self._store, 1)]
        return [(store, _channels(store)) for store in self._network.stores().values()]

    def process_empty(self, piece: int) -> Outcome:
        """Maps of zeros; a boundary map of ones where dark is boundary, so that nothing is no foreground."""
        import numpy as np

        box, maps = self.grid.box(piece), []
        for store, channels in self.arrays():
            nothing = np.full((channels, *box.shape), self.parameters.get("empty", 0), store.array.dtype)
            for channel in range(channels):
                store.write(self.time, channel, box, nothing[channel])
            maps.append(nothing if "c" in store.axes else nothing[0])
        return Outcome(digest_arrays(*maps), {"empty": True})

    def workers(self, threads: int) -> int:
        """With a network, one block is computed with all threads while others are read and written."""
        return threads if self._network is None else IN_FLIGHT

    def close(self) -> None:
        """Close the user's files and free the network's memory."""
        super().close()
        if self._network is not None:
            self._network.close()

    def process(self, piece: int) -> Outcome:
        """Read a block with its halo, compute its maps and write them."""
        if self.left_out(piece):
            return self.process_empty(piece)
        return self._process_intensity(piece) if self._network is None else self._process_network(piece, self._network)

    def rehash(self, piece: int, record: Record) -> str:
        """The maps."""
        import numpy as np

        from bigseg.volumes.store import VolumeArray

        box, shape = self.grid.box(piece), self.grid.shape
        if self._network is None:
            return digest_arrays(VolumeArray(self.layout.boundary_map, "tzyx", shape).read(self.time, 0, box))
        maps = []
        for path, axes in self._network.arrays().values():
            store = VolumeArray(path, axes, shape)
            channels = [store.read(self.time, channel, box) for channel in range(_channels(store))]
            maps.append(np.stack(channels) if "c" in axes else channels[0])
        return digest_arrays(*maps)

    def _process_intensity(self, piece: int) -> Outcome:
        """Smooth and scale."""
        from bigseg.kernels.intensity import boundary_map, smooth
        from bigseg.volumes.image import open_image

        box = self.grid.box(piece)
        outer = box.grow(self._halo, self._halo, self.grid.shape)
        z, y, x = self.parameters["sigma"]
        image = open_image(self.layout, self.parameters, self.grid.shape).read(
            self.time, self.parameters["channel"], outer
        )
        inner = smooth(image, (z, y, x))[box.inside(outer).slices]
        low, high = self._limits
        result = boundary_map(inner, low, high, invert=self.parameters["invert"])
        self._store.write(self.time, 0, box, result)
        return Outcome(digest_arrays(result))

    def _process_network(self, piece: int, network: NetworkRun) -> Outcome:
        """Apply the model."""
        import numpy as np

        from bigseg.volumes.image import open_image

        box, source = self.grid.box(piece), self._needed(piece, network)
        image = open_image(self.layout, self.parameters, self.grid.shape)
        raw = np.stack([image.read(self.time, channel, source) for channel in self.parameters["channels"]])
        maps = network.maps(raw, source, box)
        for name, store in network.stores().items():
            for channel, values in enumerate(maps[name].reshape(-1, *box.shape)):
                store.write(self.time, channel, box, values)
        return Outcome(digest_arrays(*(maps[name] for name in network.stores())))

    def _needed(self, piece: int, network: NetworkRun) -> Box:
        """The voxels of the image that a network's maps of a block are made from."""
        return needed_box(self.parameters, network.tiling, self.grid.box(piece))

    @cached_property
    def _left_out(self) -> dict[int, bool]:
        """What is known of blocks: the mask is read once for each."""
        return {}

    @cached_property
    def _mask(self) -> Source | None:
        """The mask, opened once per job."""
        return self.open_given("mask")

    @cached_property
    def _network(self) -> NetworkRun | None:
        """The model at work, None for method ``intensity``."""
        if self.parameters["method"] != "network":
            return None
        return NetworkRun(self.parameters, self.layout, self.time, self.machine)

    @cached_property
    def _limits(self) -> list[float]:
        """The intensities that become 0 and 255."""
        from bigseg.kernels.histogram import percentiles

        merged = read_histogram(self.layout, self.time, self.parameters["channel"], self.parameters["dtype"])
        low, high = percentiles(merged, self.parameters["percentiles"])
        if low == high:
            raise UserError(
                f"predict.percentiles: {self.parameters['percentiles']} of time point {self.time} are the same "
                f"intensity, {low:g}; the image is almost constant",
                "choose percentiles further apart, e.g. [0.0, 100.0]",
            )
        return [low, high]

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.boundary_map, self.parameters, self.time, "uint8", self.name)


def _counting_parameters(config: Config, plan: SamplePlan) -> Parameters:
    """Which part of the image counts, where that is not all of it: nothing is added where there is nothing to say."""
    found: Parameters = {}
    if plan.sample.mask is not None:
        reach = supervoxel_reach(supervoxel_halo(config, plan), foreground_parameters(config, plan))
        found["mask"] = {"input": plan.sample.mask.place(), "reach": list(reach)}
    found |= background_parameters(plan)
    inverted = config.predict.method == "intensity" and config.predict.invert
    return {**found, "empty": 255} if found and inverted else found


def _channels(store: VolumeArray) -> int:
    """Number of channels of an array."""
    return int(store.array.shape[1]) if "c" in store.axes else 1
