"""Method ``network``: from configuration to parameters, from a block's image to its maps."""

from __future__ import annotations

import threading
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from bigseg.errors import UserError, concerning
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.grid import Grid
from bigseg.layout import Layout
from bigseg.machine import Machine
from bigseg.networks.augment import margin
from bigseg.networks.normalisation import normalisation
from bigseg.networks.settings import channels_of, outputs_of
from bigseg.networks.tiling import Tiling, choose_core, first_core, halo_of, voxels
from bigseg.stages.ingest import read_histogram
from bigseg.stages.step import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.config.stages import Predict
    from bigseg.networks.description import ModelDescription
    from bigseg.networks.predictor import Predictor
    from bigseg.networks.processing import Resolved
    from bigseg.planning.sample import SamplePlan
    from bigseg.volumes.store import VolumeArray

LATTICE_BYTES = 2e9
"""Memory for the layers of a network whose result depends on its patches: a constant, or results would depend on the
machine."""

IN_FLIGHT = 3
"""Blocks in hand: one is read, one computed, one written."""


def network_parameters(config: Config, plan: SamplePlan) -> Parameters:
    """What the maps of a network depend on beside the image; whether they fit together was checked by the planner.

    Raises:
        UserError: the outputs do not fit the model.
    """
    model, settings = plan.model, config.predict
    if model is None:
        raise ValueError("method network without a model")
    roles, offsets = outputs_of(model, settings)
    tiling = Tiling.of(
        model,
        plan.grid.shape,
        mirror=triple(settings.mirror),
        margin=margin(settings.augment, offsets),
        symmetric=settings.augment != "none",
        overlap=settings.overlap,
    )
    return {
        "method": "network",
        "model": {"path": settings.model, "settings": settings.model_settings},
        "model_digest": model.digest,
        "channels": channels_of(settings),
        "image_dtype": plan.header.dtype,
        "roles": list(roles),
        "offsets": [list(o) for o in offsets],
        "normalise": _normalise(model, settings),
        "activation": settings.activation,
        "augment": settings.augment,
        "precision": settings.precision,
        "dtype": settings.dtype,
        "core": _core(model, tiling, settings.patch, plan.grid.block_shape),
        "tiling": {
            "divisibility": list(tiling.divisibility),
            "before": [list(b) for b in tiling.before],
            "after": [list(a) for a in tiling.after],
            "mirror": list(tiling.mirror),
            "margin": list(tiling.margin),
            "fixed": list(tiling.fixed),
            "minimum": list(tiling.minimum),
            "lattice": tiling.lattice,
            "overlap": tiling.overlap,
        },
        "halo": list(halo_of(tiling)),
    }


def read_tiling(parameters: Parameters) -> Tiling:
    """The tiling that parameters tell of."""
    told = parameters["tiling"]
    fz, fy, fx = told["fixed"]
    return Tiling(
        volume=triple(parameters["shape"]),
        divisibility=triple(told["divisibility"]),
        before=tuple(tuple(b) for b in told["before"]),
        after=tuple(tuple(a) for a in told["after"]),
        mirror=triple(told["mirror"]),
        margin=triple(told["margin"]),
        fixed=(fz, fy, fx),
        minimum=triple(told["minimum"]),
        lattice=told["lattice"],
        overlap=told["overlap"],
    )


def needed_box(parameters: Parameters, tiling: Tiling, block: Box) -> Box:
    """The voxels of the image that a block is made from."""
    core = parameters["core"]
    largest = _largest_core(tiling, triple(parameters["block_shape"])) if core is None else triple(core)
    return tiling.needed(block, largest)


def needed_within(parameters: Parameters, tiling: Tiling, grid: Grid, box: Box) -> Box:
    """The voxels of the image that the blocks are made from that tile ``box``."""
    places = grid.places(box)
    begin, end = list(box.begin), list(box.end)
    for axis in range(3):
        # What a block needs along an axis depends on nothing but its place along that axis.
        place = list(places.begin)
        for along in range(places.begin[axis], places.end[axis]):
            place[axis] = along
            needed = needed_box(parameters, tiling, grid.box_at(triple(place)))
            begin[axis], end[axis] = min(begin[axis], needed.begin[axis]), max(end[axis], needed.end[axis])
    return Box(triple(begin), triple(end))


_largest_core = cache(first_core)


class NetworkRun:
    """A model at work on the blocks of one time point."""

    def __init__(self, parameters: Parameters, layout: Layout, time: int, machine: Machine) -> None:
        """Load nothing yet: a job whose blocks are all done needs no model."""
        self._parameters, self._layout, self._time, self._machine = parameters, layout, time, machine
        self._lock = threading.Lock()
        self._loaded: Predictor | None = None
        self.tiling = read_tiling(parameters)

    @cached_property
    def operations(self) -> list[Resolved]:
        """The pre-processing, with the numbers of this time point."""
        from bigseg.kernels.histogram import values_and_counts
        from bigseg.networks.description import Operation
        from bigseg.networks.processing import Values, resolve

        dtype = self._parameters["image_dtype"]
        merged = [read_histogram(self._layout, self._time, c, dtype) for c in self._parameters["channels"]]
        channels = [Values(*values_and_counts(histogram)) for histogram in merged]
        return resolve([Operation.model_validate(o) for o in self._parameters["normalise"]], channels)

    def maps(self, image: np.ndarray, source: Box, block: Box) -> dict[str, np.ndarray]:
        """The maps of a block from the raw image (c, z, y, x) of ``source``."""
        from bigseg.networks.processing import apply_steps

        if image.dtype.kind == "f":
            import numpy as np

            if not np.isfinite(image).all():
                raise UserError("the image holds NaN or infinity", "replace these voxels, e.g. by 0")
        return self._predictor().predict(apply_steps(image, self.operations), source, block)

    def arrays(self) -> dict[str, tuple[Path, str]]:
        """Where the maps lie, and the axes of each."""
        found = {"boundary": (self._layout.boundary_map, "tzyx")}
        if "foreground" in self._parameters["roles"]:
            found["foreground"] = (self._layout.foreground_map, "tzyx")
        if self._parameters["offsets"]:
            found["affinities"] = (self._layout.affinity_maps, "tczyx")
        return found

    def stores(self) -> dict[str, VolumeArray]:
        """The arrays that are written, by map."""
        return self._stores

    @cached_property
    def _stores(self) -> dict[str, VolumeArray]:
        from bigseg.volumes.image import stage_array, stage_channels

        layout, parameters, dtype = self._layout, self._parameters, self._parameters["dtype"]
        writer, count = "predict.blocks", len(parameters["offsets"])
        return {
            name: stage_channels(layout, path, parameters, self._time, count, dtype, writer)
            if "c" in axes
            else stage_array(layout, path, parameters, self._time, dtype, writer)
            for name, (path, axes) in self.arrays().items()
        }

    def close(self) -> None:
        """Give the device's memory back."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def _predictor(self) -> Predictor:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> Predictor:
        from bigseg.networks.description import ModelSpec, read_description
        from bigseg.networks.maps import Maps
        from bigseg.networks.model import load_model
        from bigseg.networks.predictor import Options, Predictor

        told = self._parameters["model"]
        with concerning("predict.model"):
            spec = ModelSpec(path=told["path"], settings=told["settings"])
            model = load_model(spec, read_description(self._layout.model))
        if model.description.digest != self._parameters["model_digest"]:
            raise UserError(
                f"predict.model: {told['path']} has changed since the run was planned", "start snakemake again"
            )
        parameters, core = self._parameters, self._parameters["core"]
        options = Options(
            maps=Maps(tuple(parameters["roles"]), tuple(triple(o) for o in parameters["offsets"])),
            dtype=parameters["dtype"],
            augment=parameters["augment"],
            activation=parameters["activation"],
            precision=parameters["precision"],
            core=None if core is None else triple(core),
        )
        return Predictor(model, self.tiling, options, self._machine, triple(parameters["block_shape"]))


def _normalise(model: ModelDescription, settings: Predict) -> list[dict[str, Any]]:
    """The pre-processing, as JSON: the model's own if it tells one and nothing else is wanted."""
    kind = settings.normalise
    if kind == "auto":
        told = model.source in ("pytorch-3dunet", "bioimageio")
        operations = model.preprocessing if told else normalisation("standardise", settings.percentiles)
    else:
        operations = normalisation(kind, settings.percentiles)
    return [operation.model_dump(mode="json") for operation in operations]


def _core(model: ModelDescription, tiling: Tiling, wanted: list[int] | str, block: Triple) -> list[int] | None:
    """Shape of a patch where the result depends on it, or where the user wants it so; None if the job may choose."""
    if isinstance(wanted, list):
        return list(_up(triple(wanted), tiling))
    if not tiling.lattice:
        return None
    return list(choose_core(tiling, block, lambda shape: voxels(shape) * model.bytes_per_voxel <= LATTICE_BYTES))


def _up(shape: Triple, tiling: Tiling) -> Triple:
    """A shape in whole steps of the divisibility."""
    return triple([-(-n // d) * d for n, d in zip(shape, tiling.divisibility, strict=True)])
