"""The configuration of ``bigseg train``: a file of its own, because a training belongs to no run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bigseg.config.model import (
    Channels,
    Fraction,
    Index,
    Margin,
    NotNegative,
    Offsets,
    Percentiles,
    PositiveFloat,
    PositiveInt,
    Probability,
    Settings,
    Shape,
    VoxelSize,
)
from bigseg.config.samples import Input
from bigseg.config.stages import Supervoxels


class TrainingVolume(Settings):
    """An image with its true labels, or a part of it."""

    raw: Input = Field(description="The image.")
    label: Input = Field(
        description="The true labels, a volume of the same shape, or, with `end`, of the first part of it; 0 is "
        "background."
    )
    channels: Channels = Field(
        default=[0], description="Image channels that the network is given, in this order, counted from 0."
    )
    time: Index = Field(default=0, description="Time point, counted from 0.")
    begin: Margin = Field(default=[0, 0, 0], description="First voxel (z, y, x) of the part to use.")
    end: Margin | None = Field(
        default=None, description="End (z, y, x) of the part to use, exclusive. That of the volume if left out."
    )


class Network(Settings):
    """The network; keys are pytorch-3dunet's."""

    name: Literal["UNet2D", "UNet3D", "ResidualUNet2D", "ResidualUNet3D", "ResidualUNetSE3D"] = Field(
        default="UNet3D", description="Architecture. 2D networks learn from planes."
    )
    f_maps: PositiveInt | Annotated[list[PositiveInt], Field(min_length=2)] = Field(
        default=32, description="Feature maps of each level, or those of the first, doubled from level to level."
    )
    num_levels: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="Levels where `f_maps` is one number: 4, residual networks 5, if left out."
    )
    layer_order: Annotated[str, Field(min_length=1)] = Field(
        default="gcr",
        description="Order within a layer: c convolution, g group norm, b batch norm, r ReLU, l leaky ReLU, e ELU, "
        "d dropout. Without g the result does not depend on the patches that predict works with.",
    )
    num_groups: PositiveInt = Field(default=8, description="Groups of a group norm.")
    conv_kernel_size: PositiveInt | Shape = Field(default=3, description="Size of the convolutions.")
    conv_padding: Annotated[int, Field(ge=0)] | Margin = Field(
        default=1, description="Padding of the convolutions: half of their size, rounded down."
    )
    pool_kernel_size: PositiveInt | Shape = Field(
        default=2, description="How much a level is coarser than the one above, e.g. [1, 2, 2] for flat voxels."
    )
    initial_model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Start from the weights of this model, which must have the same architecture."
    )


class Target(Settings):
    """What the network learns to show."""

    kind: Literal["boundary", "foreground_boundary", "affinity", "boundary_affinity"] = Field(
        default="boundary",
        description="`boundary`; `foreground_boundary`, two channels, for nuclei; `affinity`, a channel per offset, "
        "1 where both ends lie in the same object; `boundary_affinity`, the boundary and then the affinities, where "
        "long offsets teach the network what belongs together further away.",
    )
    sigma: NotNegative = Field(
        default=1.0, description="Smoothing of the boundaries, in voxels, before they are cut at 0.5; 0 is none."
    )
    grow: NotNegative = Field(
        default=0.0,
        description="Distance, in voxels of the finest axis, by which boundaries grow after that. Helps where the "
        "image is blurred, so that nobody could tell a boundary's place to the voxel.",
    )
    softness: NotNegative = Field(
        default=0.0,
        description="Standard deviation, in voxels of the finest axis, of the Gaussian by which boundaries fall off on "
        "both sides; 0 is a step. The network then shows ridges, whose crest tells a watershed where the boundary is.",
    )
    offsets: Offsets = Field(
        default=[[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
        description="`affinity`, `boundary_affinity`: offsets (z, y, x) in voxels.",
    )
    ignore_label: int | None = Field(
        default=None, description="Voxels with this label are unlabelled: they count neither in loss nor in scores."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        distinct = {tuple(offset) for offset in self.offsets}
        if len(distinct) < len(self.offsets) or (0, 0, 0) in distinct:
            raise ValueError(f"offsets: {self.offsets} must differ from each other and from [0, 0, 0]")
        return self


class Loss(Settings):
    """How far prediction and target are apart."""

    name: Literal["bce", "dice", "bce_dice"] = Field(
        default="bce_dice", description="Binary cross entropy, Dice, or their sum."
    )
    dice_weight: NotNegative = Field(default=1.0, description="`bce_dice`: factor of the Dice loss.")


class Optimiser(Settings):
    """Adam, and how its learning rate falls."""

    learning_rate: PositiveFloat = Field(default=2e-4, description="Learning rate, the largest one.")
    weight_decay: NotNegative = Field(default=1e-5, description="L2 penalty of the weights.")
    schedule: Literal["plateau", "cosine"] = Field(
        default="plateau",
        description="`plateau`: lowered when the validation loss no longer falls. `cosine`: rises over the first "
        "hundredth of all iterations, then falls to 0 along a cosine; for a fixed amount of time, since all `epochs` "
        "count and none can be added later.",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=10, description="`plateau`: validations without a lower loss before the learning rate is lowered."
    )
    factor: Probability = Field(default=0.5, description="`plateau`: what it is multiplied by then.")


class Augment(Settings):
    """Changes of the training patches, drawn anew for each."""

    flips: bool = Field(default=True, description="Flips along all axes.")
    rotations: bool = Field(default=True, description="Quarter turns of the plane of y and x.")
    transpose: bool = Field(
        default=False, description="Any order of the three axes, for 3D networks and voxels that are cubes."
    )
    elastic: Fraction = Field(default=0.5, description="Share of the patches that are deformed.")
    elastic_amplitude: NotNegative = Field(
        default=4.0, description="Standard deviation of the deformation, in voxels of the finest axis."
    )
    elastic_spacing: PositiveFloat = Field(
        default=24.0, description="Distance of the deformation's control points, in voxels of the finest axis."
    )
    contrast: Fraction = Field(
        default=0.0, description="The normalised image is multiplied by up to 1 ± this, and half of this is added."
    )
    gaussian_noise: NotNegative = Field(
        default=0.1, description="Largest standard deviation of added noise, relative to that of the image."
    )
    poisson_noise: Fraction = Field(default=0.3, description="Share of the patches that get shot noise.")
    poisson_photons: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)] = Field(
        default=[10.0, 100.0], description="Photons at the upper percentile of the image: fewest and most."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.poisson_photons[0] > self.poisson_photons[1]:
            raise ValueError(f"poisson_photons: {self.poisson_photons} must ascend, e.g. [10.0, 100.0]")
        return self


class Validation(Settings):
    """How models are compared: by the adapted Rand error of the segmentation that their boundary map leads to."""

    every: PositiveInt = Field(default=1, description="Epochs from one validation to the next.")
    box_shape: Shape = Field(
        default=[64, 192, 192], description="Largest box (z, y, x) that is predicted and segmented at once."
    )
    boxes: PositiveInt = Field(default=4, description="Most boxes per volume, spread evenly over it.")
    supervoxels: Supervoxels = Field(
        default=Supervoxels(), description="As in the configuration of a run, without `crest`, foreground and `halo`."
    )
    beta: Probability = Field(default=0.5, description="As `partition.beta` of a run (average linkage).")
    minimum_object_size: Annotated[int, Field(ge=0)] = Field(
        default=100, description="As `segment.minimum_object_size` of a run."
    )
    ignore_zero: bool = Field(default=True, description="Leave out voxels whose true label is 0.")

    @model_validator(mode="after")
    def _of_the_map_alone(self) -> Self:
        for key in ("crest", "foreground_threshold", "foreground_window", "halo"):
            if getattr(self.supervoxels, key) != Supervoxels.model_fields[key].default:
                raise ValueError(f"supervoxels.{key}: models are compared by their boundary maps alone; leave it out")
        return self


class Training(Settings):
    """Everything that a training depends on."""

    output: Annotated[str, Field(min_length=1)] = Field(
        description="Folder of the model, a BioImage.IO package that `predict.model` can name. Checkpoints, curves "
        "and history lie in its folder `training`."
    )
    train: Annotated[list[TrainingVolume], Field(min_length=1)] = Field(description="What to learn from.")
    validate_on: Annotated[list[TrainingVolume], Field(min_length=1)] = Field(
        description="What models are compared on; nothing of `train`, or the scores say nothing."
    )
    voxel_size_um: VoxelSize | Literal["auto", "none"] = Field(
        default="auto",
        description="Voxel size (z, y, x) in µm that the model tells, so that `predict` can refuse images of another "
        "resolution. `auto`: that of the first validation volume; `none`: the model is for any.",
    )
    normalise: Literal["standardise", "percentiles"] = Field(
        default="standardise",
        description="`standardise` (mean 0, deviation 1) or `percentiles` (see below) of each whole volume; the model "
        "tells it to `predict`.",
    )
    percentiles: Percentiles = Field(default=[1.0, 99.8], description="`percentiles`: what becomes 0 and 1.")
    network: Network = Field(default=Network(), description=str(Network.__doc__))
    target: Target = Field(default=Target(), description=str(Target.__doc__))
    loss: Loss = Field(default=Loss(), description=str(Loss.__doc__))
    optimiser: Optimiser = Field(default=Optimiser(), description=str(Optimiser.__doc__))
    augment: Augment = Field(default=Augment(), description=str(Augment.__doc__))
    validation: Validation = Field(default=Validation(), description=str(Validation.__doc__))
    patch: Shape = Field(
        default=[32, 96, 96],
        description="Shape (z, y, x) of the training patches, a multiple of what the network halves. Some whole "
        "objects should fit. For 2D networks z is 1.",
    )
    batch: PositiveInt = Field(default=1, description="Patches per iteration.")
    labelled: Fraction = Field(
        default=0.0, description="Least labelled share of a patch; others are drawn again, at most 20 times."
    )
    epochs: PositiveInt = Field(default=100, description="Number of epochs.")
    iterations: PositiveInt = Field(default=250, description="Iterations of an epoch.")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Another number, another training.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="What layers are computed in. `auto`: bfloat16 on GPUs that can, else float32. `bfloat16` is also "
        "several times faster on CPUs with AMX.",
    )
    crest_weight: Annotated[float, Field(ge=-1000, le=1000)] = Field(
        default=0.0,
        description="What `supervoxels.crest.weight` is with this model, where it is `auto`: about 40 for membranes, "
        "which are where the image is brightest.",
    )
    name: Annotated[str, Field(min_length=5, max_length=128)] = Field(
        default="bigseg network", description="Name of the model."
    )
    description: Annotated[str, Field(min_length=1)] = Field(
        default="A U-Net trained with bigseg.", description="One sentence on the model."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            raise ValueError(f"percentiles: {self.percentiles} must ascend, e.g. [1.0, 99.8]")
        if self.network.name.endswith("2D") and self.patch[0] != 1:
            raise ValueError(f"patch: {self.patch} must be a plane for {self.network.name}, e.g. [1, 256, 256]")
        if self.network.name.endswith("2D") and self.augment.transpose:
            raise ValueError(f"augment.transpose: is not for {self.network.name}, which learns from planes")
        counts = {len(volume.channels) for volume in (*self.train, *self.validate_on)}
        if len(counts) > 1:
            raise ValueError("train: all volumes must give the network the same number of channels")
        return self
