"""One model per stage; each field is a parameter on which that stage's result depends."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bigseg.config.model import Channels, Fraction, Index, Margin, Offsets, Percentiles, Probability, Settings, Shape

Sigma = Annotated[float, Field(ge=0, le=100)]
Weight = Annotated[float, Field(ge=0, le=1000)]


class Ingest(Settings):
    """Bring the image into an OME-Zarr of block-sized shards and gather its intensity statistics."""

    reference: bool = Field(
        default=True,
        description="Use an OME-Zarr whose chunks are no larger than a block where it lies, instead of copying it.",
    )


class Predict(Settings):
    """Compute the boundary map (0 = inside a cell, 1 = boundary)."""

    method: Literal["intensity", "network"] = Field(
        default="intensity",
        description="`intensity`: the normalised image itself is the boundary map (membrane stains). `network`: "
        "`model` makes it.",
    )
    channel: Index = Field(default=0, description="Image channel to use, counted from 0.")
    invert: bool = Field(
        default=False, description="`intensity`: true where boundaries are dark (electron microscopy)."
    )
    percentiles: Percentiles = Field(
        default=[1.0, 99.8],
        description="Intensity percentiles of the whole time point that become 0 and 1.",
    )
    sigma: Sigma = Field(
        default=1.0,
        description="`intensity`: Gaussian smoothing of the image before normalisation, in voxels of the finest axis; "
        "0 is none.",
    )
    model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="`network`: `membrane`, which comes with bigseg, for stained membranes; a BioImage.IO package "
        "(folder, zip, rdf.yaml, or id of the zoo), a pytorch-3dunet checkpoint beside its configuration, a "
        "TorchScript or an ONNX file. See docs/networks.md.",
    )
    model_settings: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="`network`: configuration of a pytorch-3dunet checkpoint, where it is not the only one beside it.",
    )
    channels: Channels | Literal["auto"] = Field(
        default="auto",
        description="`network`: image channels that it is given, in its order. `auto`: `channel`.",
    )
    outputs: (
        Annotated[list[Literal["boundary", "foreground", "affinity", "ignore"]], Field(min_length=1)] | Literal["auto"]
    ) = Field(
        default="auto",
        description="`network`: what each output channel is: `boundary`, `foreground`, `affinity` (1 = same object) or "
        "`ignore`. `auto`: what the model says, else boundary for one channel, foreground and boundary for two.",
    )
    offsets: Offsets | Literal["auto"] = Field(
        default="auto",
        description="`network`: offset (z, y, x) in voxels of each affinity channel. `auto`: what the model says.",
    )
    normalise: Literal["auto", "standardise", "percentiles", "none"] = Field(
        default="auto",
        description="`network`: `standardise` (mean 0, deviation 1) or `percentiles` (see above) of the whole time "
        "point. `auto`: the model's own, `standardise` for bare TorchScript and ONNX.",
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="`network`: applied to its output, where it was exported without."
    )
    augment: Literal["none", "flips", "rotations"] = Field(
        default="none",
        description="`network`: mean over flipped (`flips`), also turned (`rotations`) images: 8 or 16 times the work "
        "in 3D, 4 or 8 in 2D.",
    )
    patch: Shape | Literal["auto"] = Field(
        default="auto",
        description="`network`: shape (z, y, x) of what it computes at once, without the surroundings that it sees. "
        "`auto`: what fits into memory. Matters to the result of networks with group or instance norm only.",
    )
    overlap: bool = Field(
        default=False,
        description="`network`: patches overlap by half and are averaged; 8 times the work. Softens the seams of "
        "networks with group or instance norm.",
    )
    mirror: Margin = Field(
        default=[0, 0, 0],
        description="`network`: voxels (z, y, x) mirrored beyond the edges of the volume (never inside it).",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="`network`: what it computes in. `bfloat16` is several times faster on GPUs and on CPUs with AMX.",
    )
    dtype: Literal["uint8", "float16"] = Field(default="uint8", description="`network`: how its maps are stored.")
    voxel_size_tolerance: Annotated[float, Field(ge=1)] = Field(
        default=2.0,
        description="`network`: refuse a model whose training data had voxels that are larger or smaller than the "
        "image's by more than this factor.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            raise ValueError(f"percentiles: {self.percentiles} must ascend, e.g. [1.0, 99.8]")
        if self.method == "network" and self.model is None:
            raise ValueError("model: method network needs a model: `membrane`, or the path of one")
        return self


class Crest(Settings):
    """Draw the boundaries between supervoxels on the crest of the image, near where the boundary map has them."""

    weight: Annotated[float, Field(ge=-1000, le=1000)] | Literal["auto"] = Field(
        default="auto",
        description="0: boundaries stay where the boundary map alone draws them. With 40 the image decides where the "
        "map is a plateau, with 1000 the image alone (within `radius`); negative where boundaries are dark. It is "
        "added as weight · image to the log odds of the map; 0 and 1 of the image are its percentiles 1 and 99.8, "
        "whatever `predict.percentiles` are. `auto`: what the model says (40 for `membrane`), else 0. -1000 to 1000.",
    )
    radius: Annotated[float, Field(gt=0, le=8)] = Field(
        default=2.0, description="How far boundaries may move, in voxels of the finest axis; up to 8."
    )
    sigma: Annotated[float, Field(ge=0, le=8)] = Field(
        default=1.0, description="Smoothing before the crest is followed, in voxels of the finest axis; 0 (none) to 8."
    )


class Supervoxels(Settings):
    """Over-segment the boundary map by a distance-transform watershed (Beier et al. 2017)."""

    dimension: Literal["3d", "stacked_2d"] = Field(
        default="3d",
        description="`3d`, or `stacked_2d`: every plane by itself, for volumes whose planes are far apart.",
    )
    threshold: Probability = Field(
        default=0.4, description="Boundary probability above which a voxel is boundary for the distance transform."
    )
    sigma_seeds: Sigma = Field(
        default=2.0, description="Smoothing of the distance transform before its maxima become seeds, in voxels."
    )
    sigma_weights: Sigma = Field(
        default=0.0, description="Smoothing of the boundary map for the watershed's height map, in voxels; 0 is none."
    )
    alpha: Fraction = Field(
        default=0.9, description="Height map = alpha · boundary map + (1 - alpha) · inverted distance."
    )
    minimum_size: Annotated[int, Field(ge=0)] = Field(
        default=100, description="Supervoxels with fewer voxels than this are given to their neighbours."
    )
    foreground_threshold: Probability | Literal["auto", "none", "otsu"] = Field(
        default="auto",
        description="Foreground probability below which a voxel is background and gets no supervoxel: for separated "
        "objects such as nuclei. It is read from the network's foreground map, or with `intensity` and `invert: true` "
        "from the complement of the boundary map. `otsu`: found for each time point (Otsu 1979, on square roots). "
        "`auto`: 0.5 where a network gives a foreground map, else none.",
    )
    foreground_window: Annotated[int, Field(ge=0, le=127)] = Field(
        default=0,
        description="Foreground must also be brighter than the mean of its surroundings, which reach this many voxels "
        "of the finest axis to each side; more than the diameter of a nucleus. 0 is none.",
    )
    anisotropic: bool = Field(
        default=True,
        description="Measure distances and smoothing in physical proportion; false treats voxels as cubes.",
    )
    halo: Margin | Literal["auto"] = Field(
        default="auto",
        description="Neighbouring voxels (z, y, x) that a block sees on each side. `auto`: 32 along the finest axis, "
        "in physical proportion along the others.",
    )
    crest: Crest = Field(default=Crest(), description=" ".join(str(Crest.__doc__).split()))


class Graph(Settings):
    """Build the region adjacency graph of the supervoxels with statistics of the boundary map on each edge."""


class Lifted(Settings):
    """Lifted edges: what nuclei, a semantic map or affinities say of supervoxels that need not touch.

    Used by `lifted_multicut`; by `mutex_watershed` only the affinities that repel.
    """

    distance: Annotated[int, Field(ge=1, le=8)] = Field(
        default=4,
        description="Nuclei and classes link supervoxels that a path of at most this many contacts joins, inside a "
        "block and the blocks around it.",
    )
    minimum_overlap: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2,
        description="A supervoxel belongs to a nucleus that covers at least this share of it, or of which it holds at "
        "least this share (within a block); and to a class that covers at least this share of it.",
    )
    nuclei_repulsion: Weight = Field(
        default=8.0,
        description="Weight of two different nuclei: larger values cut through weaker walls, or none. Weights are log "
        "odds; see docs/methods.md.",
    )
    nuclei_attraction: Weight = Field(
        default=4.0,
        description="Weight of one and the same nucleus: larger values join across stronger walls. Set it lower where "
        "the map may have joined nuclei of neighbouring cells.",
    )
    semantic_repulsion: Weight = Field(default=0.5, description="Weight of two different classes.")
    affinities_weight: Weight = Field(
        default=1.0, description="Weight of affinities relative to contacts of the same area, in `lifted_multicut`."
    )


class Partition(Settings):
    """Join supervoxels into objects."""

    method: Literal["gasp", "multicut", "lifted_multicut", "mutex_watershed"] = Field(
        default="gasp",
        description="`gasp` (agglomeration; Bailoni et al. 2022), `multicut` (Andres et al. 2012; in blocks "
        "Pape et al. 2017), `lifted_multicut` (with `nuclei`, `semantic` or `affinities` of the sample; Pape et al. "
        "2019), or `mutex_watershed` (Wolf et al. 2019).",
    )
    linkage: Literal["mean", "max", "min", "sum", "abs_max"] = Field(
        default="mean",
        description="How `gasp` combines the edges of two merged clusters; `mean` is average linkage. All but `sum` "
        "are solved in blocks with the result of one solve of the whole.",
    )
    beta: Probability = Field(
        default=0.5, description="Bias: larger values give more and smaller objects, smaller ones fewer and larger."
    )
    size_weight: Annotated[float, Field(ge=0, le=2)] = Field(
        default=1.0,
        description="`multicut` and `lifted_multicut`: costs are multiplied by (contact area in voxel "
        "faces)^size_weight; 0 is none.",
    )
    levels: Annotated[int, Field(ge=0, le=20)] | Literal["auto"] = Field(
        default="auto",
        description="Levels of superblocks (blocks, 2 × 2 × 2 of them, …) that are solved one after the other before "
        "the rest is solved in one job; 0 solves all in one job. `auto`: 0 up to 512³ voxels, else as many as leave at "
        "most 8 superblocks to the last job.",
    )

    lifted: Lifted = Field(default=Lifted(), description=" ".join(str(Lifted.__doc__).split()))

    @model_validator(mode="after")
    def _solvable(self) -> Self:
        if self.method == "gasp" and self.linkage == "sum" and self.levels not in ("auto", 0):
            raise ValueError(
                f"levels: {self.levels} cannot be used with linkage sum, whose result would depend on the blocks; "
                "set levels to 0, or linkage to mean, max, min or abs_max"
            )
        return self


class Segment(Settings):
    """Write the label volume."""

    minimum_object_size: Annotated[int, Field(ge=0)] = Field(
        default=100,
        description="Objects with fewer voxels than this are merged into the neighbour with the weakest boundary.",
    )
    remove_isolated: bool = Field(
        default=False,
        description="Objects that are too small and touch no other become background: debris between nuclei.",
    )


class Pyramid(Settings):
    """Write coarser levels of image and labels for viewers."""

    smallest: Annotated[int, Field(ge=1)] = Field(
        default=128, description="Halve the volume until its longest axis has no more than this many voxels."
    )


class Measure(Settings):
    """Write the table of objects."""


class Evaluate(Settings):
    """Score the labels against the truth of each sample that has one."""

    ignore_zero: bool = Field(
        default=True, description="Leave out voxels whose truth label is 0 from VOI and the adapted Rand error."
    )


class Seams(Settings):
    """Look for block faces in the labels: surface on them, objects cut by them, errors near them."""

    distance: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8, description="Voxels from a block face within which planes and voxels are near it."
    )
    minimum_cut: Annotated[int, Field(ge=1)] = Field(
        default=8,
        description="Two objects whose contact lies on block faces are counted as one object cut where that contact is "
        "at least a square with an edge of this many voxels (in an image of a single plane, a line).",
    )


class Report(Settings):
    """Write the HTML report."""

    planes: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="Number of overlay positions along each axis."
    )
