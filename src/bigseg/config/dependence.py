"""Which stages run again when a key of the configuration changes.

Named are the stages that a key reaches directly; what follows them in the workflow runs again as far as their results
change. A test changes every key of the models in turn and compares what the planner then does with what is declared
here; the reference page takes it from here as well.
"""

from __future__ import annotations

from typing import NamedTuple

from bigseg.config.tracking import Costs, Joint, Volume

CONDITIONS = {
    "": "",
    "intensity": "`intensity`",
    "network": "`network`",
    "percentiles": "`intensity`, and `network` where its input is normalised by them",
    "channel": "`intensity`, and `network` where `channels` is `auto`",
    "affinity outputs": "`network` with affinities",
    "referenced": "where the image is an OME-Zarr that is not copied",
    "gasp": "`gasp`",
    "multicuts": "`multicut`, `lifted_multicut`",
    "lifted_multicut": "`lifted_multicut`",
    "maps": "where nuclei, a semantic map or affinities are used",
    "affinities": "`lifted_multicut`, `mutex_watershed`",
    "truth": "where there is a truth",
    "masked": "where there is a mask",
    "anisotropic": "where voxels are no cubes",
    "scored movie": "where there is more than one time point, and a truth",
    "movie": "where there is more than one time point",
    "linked": "`program`, `greedy`, `joint`",
    "joint": "`joint`",
    "volume": "`volume`",
    "drift": "with `drift`",
    "drift, referenced": "with `drift`, where the image is an OME-Zarr that is not copied",
    "drift, shallow pyramid": "with `drift`, in volumes of which no level of the pyramid is small enough for it",
    "computed": "where no `segmentation` is given",
    "foreground": "where something tells foreground",
    "masked foreground": "where there is a mask, and a foreground threshold with a window",
    "thresholded": "where there is a foreground threshold",
    "told": "where a model tells the weight of the crest, or gives a foreground",
    "crest": "where boundaries are drawn on the crest of the image",
    "crest, network": "`network`, where boundaries are drawn on the crest of the image",
    "crest, referenced": "where boundaries are drawn on the crest of an OME-Zarr that is not copied",
}
"""Where a key reaches a stage: the method in use, or something about the sample; in the words of the reference page."""


class Use(NamedTuple):
    """A stage that a key reaches, and the condition (of :data:`CONDITIONS`) under which it does."""

    stage: str
    where: str = ""


_DRIFTING = Use("track", "drift, referenced")
_CREST = (Use("supervoxels", "crest"),)
_READING = (_DRIFTING, Use("supervoxels", "crest, referenced"))
_IMAGE = (Use("ingest"), *(Use(stage, "referenced") for stage in ("predict", "pyramid", "measure")), *_READING)
_OWNER = (Use("ingest"), Use("predict", "referenced"), Use("pyramid"), Use("measure", "referenced"), *_READING)
_TRUTH = (Use("evaluate"), Use("seams"))
_MOVIE = (Use("track", "movie"),)
_LINKED = (Use("track", "linked"),)
_JOINT = (Use("track", "joint"),)
_VOLUME = (Use("track", "volume"),)
_DRIFT = (Use("track", "drift"),)
_STORED = (*(Use(stage) for stage in ("ingest", "predict", "supervoxels", "segment", "pyramid")), *_MOVIE)
_BLOCKS = (*_STORED, *(Use(stage) for stage in ("graph", "partition", "measure", "seams")), Use("evaluate", "truth"))
_LABEL_MAP = (Use("graph", "lifted_multicut"),)
_LIFTED = (Use("partition", "lifted_multicut"),)
_NETWORK = (Use("predict", "network"),)
_INTENSITY = (Use("predict", "intensity"),)


def _volume(role: str, uses: tuple[Use, ...]) -> dict[str, tuple[Use, ...]]:
    """The keys of a volume of a sample that tell which voxels are read."""
    return {f"samples.<name>.{role}.{key}": uses for key in ("path", "key", "axes", "files_along")}


_SEGMENTING = ("predict", "supervoxels", "graph", "partition", "segment")

DEPENDENCE: dict[str, tuple[Use, ...]] = {
    "samples.<name>.input.path": _OWNER,
    "samples.<name>.input.key": _OWNER,
    "samples.<name>.input.axes": _IMAGE,
    "samples.<name>.input.files_along": _IMAGE,
    "samples.<name>.input.voxel_size_um": (
        Use("predict", "intensity"),
        Use("predict", "masked"),
        Use("supervoxels"),
        Use("pyramid"),
        Use("measure"),
        *_MOVIE,
        Use("evaluate", "scored movie"),
    ),
    "samples.<name>.segmentation": tuple(Use(stage) for stage in ("ingest", *_SEGMENTING)),
    **_volume("segmentation", (Use("segment"),)),
    "samples.<name>.segmentation.voxel_size_um": (),
    "samples.<name>.truth": _TRUTH,
    **_volume("truth", _TRUTH),
    "samples.<name>.truth.voxel_size_um": (),
    "samples.<name>.truth_lineage": (Use("evaluate", "scored movie"),),
    "samples.<name>.mask": (Use("predict"), Use("supervoxels")),
    **_volume("mask", (Use("predict"), Use("supervoxels"))),
    "samples.<name>.mask.voxel_size_um": (),
    "samples.<name>.background": (Use("ingest"), Use("predict")),
    "samples.<name>.nuclei": (*_LABEL_MAP, *_LIFTED),
    **_volume("nuclei", _LABEL_MAP),
    "samples.<name>.nuclei.voxel_size_um": (),
    "samples.<name>.semantic": (*_LABEL_MAP, *_LIFTED),
    **_volume("semantic", _LABEL_MAP),
    "samples.<name>.semantic.voxel_size_um": (),
    "samples.<name>.affinities": (Use("graph", "affinities"), Use("partition", "affinities")),
    **_volume("affinities", (Use("graph", "affinities"),)),
    "samples.<name>.affinities.voxel_size_um": (),
    "samples.<name>.affinities.offsets": (Use("graph", "affinities"), *_LIFTED),
    "samples.<name>.affinities.invert": (Use("graph", "affinities"),),
    "samples.<name>.times": (Use("pyramid"), Use("measure"), *_MOVIE, Use("evaluate", "truth"), Use("seams")),
    "samples.<name>.missing_times": (),
    "results": (),
    "work": (),
    "blocks.block_shape": _BLOCKS,
    "blocks.chunk_shape": _STORED,
    "ingest.reference": (
        Use("ingest", "referenced"),
        Use("predict", "referenced"),
        Use("pyramid", "referenced"),
        Use("measure", "referenced"),
        *_READING,
    ),
    "predict.method": (Use("predict"), Use("supervoxels", "told")),
    "predict.channel": (Use("predict", "channel"), Use("measure"), *_DRIFT, *_CREST),
    "predict.invert": _INTENSITY,
    "predict.percentiles": (Use("predict", "percentiles"),),
    "predict.sigma": _INTENSITY,
    "predict.model": (*_NETWORK, Use("supervoxels", "told")),
    "predict.model_settings": _NETWORK,
    "predict.channels": (*_NETWORK, Use("supervoxels", "crest, network")),
    "predict.outputs": (*_NETWORK, Use("supervoxels", "network")),
    "predict.offsets": (Use("predict", "affinity outputs"),),
    "predict.normalise": _NETWORK,
    "predict.activation": _NETWORK,
    "predict.augment": _NETWORK,
    "predict.patch": _NETWORK,
    "predict.overlap": _NETWORK,
    "predict.mirror": _NETWORK,
    "predict.precision": _NETWORK,
    "predict.dtype": _NETWORK,
    "predict.voxel_size_tolerance": (),
    "supervoxels.dimension": (Use("supervoxels"), Use("predict", "masked")),
    "supervoxels.threshold": (Use("supervoxels"),),
    "supervoxels.sigma_seeds": (Use("supervoxels"),),
    "supervoxels.sigma_weights": (Use("supervoxels"),),
    "supervoxels.alpha": (Use("supervoxels"),),
    "supervoxels.minimum_size": (Use("supervoxels"),),
    "supervoxels.foreground_threshold": (Use("supervoxels", "foreground"), Use("predict", "masked foreground")),
    "supervoxels.foreground_window": (Use("supervoxels", "thresholded"), Use("predict", "masked foreground")),
    "supervoxels.anisotropic": (Use("supervoxels", "anisotropic"), Use("predict", "masked")),
    "supervoxels.halo": (Use("supervoxels"), Use("predict", "masked")),
    "supervoxels.crest.weight": (Use("supervoxels"),),
    "supervoxels.crest.radius": _CREST,
    "supervoxels.crest.sigma": _CREST,
    "partition.method": (Use("partition"), Use("graph", "maps")),
    "partition.linkage": (Use("partition", "gasp"),),
    "partition.beta": (Use("partition"),),
    "partition.size_weight": (Use("partition", "multicuts"),),
    "partition.levels": (Use("partition"),),
    "partition.lifted.distance": _LIFTED,
    "partition.lifted.minimum_overlap": _LIFTED,
    "partition.lifted.nuclei_repulsion": _LIFTED,
    "partition.lifted.nuclei_attraction": _LIFTED,
    "partition.lifted.semantic_repulsion": _LIFTED,
    "partition.lifted.affinities_weight": _LIFTED,
    "segment.minimum_object_size": (Use("segment", "computed"),),
    "segment.remove_isolated": (Use("segment", "computed"),),
    "pyramid.smallest": (Use("pyramid"), Use("track", "drift, shallow pyramid")),
    "track.method": (*_MOVIE, Use("pyramid", "movie"), Use("evaluate", "scored movie")),
    "track.drift": _MOVIE,
    "track.maximum_drift_um": _DRIFT,
    "track.window": _JOINT,
    **{f"track.costs.{key}": _LINKED for key in Costs.model_fields},
    **{f"track.joint.{key}": _JOINT for key in Joint.model_fields},
    **{f"track.volume.{key}": _VOLUME for key in Volume.model_fields},
    "evaluate.ignore_zero": (Use("evaluate", "truth"),),
    "seams.distance": (Use("seams"),),
    "seams.minimum_cut": (Use("seams"),),
    "report.planes": (),
    "execution.batches": (),
    "execution.threads": (),
    "execution.device": (),
    "execution.network_memory_gb": (),
    "execution.compile": (),
}
"""Every key, with the stages that it reaches. The report shows all settings, so that it is written again for every key
but those of ``execution``, ``results`` and ``work``; on these nothing depends, but in other folders nothing is done."""
