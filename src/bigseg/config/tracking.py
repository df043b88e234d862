"""The model of stage ``track``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bigseg.config.model import Fraction, NotNegative, PositiveFloat, Probability, Settings

Cost = Annotated[float, Field(ge=0, le=1000)]


class Costs(Settings):
    """What events cost; an object that vanishes and another that appears cost 1 each. See docs/tracking.md."""

    distance: Cost = Field(
        default=0.5,
        description="Link over the distance D, which is half of the median distance of nearest neighbours in a pair of "
        "time points; grows with the square of the distance.",
    )
    overlap: Cost = Field(default=0.2, description="Link of objects that share no voxel.")
    volume: Cost = Field(default=0.5, description="Link across which the volume changes by the factor e.")
    division: Cost = Field(default=0.3, description="A division, however good: larger values give fewer.")
    asymmetry: Cost = Field(
        default=0.2, description="Division one of whose daughters is e times as large as the other."
    )
    separation: Cost = Field(
        default=0.1, description="Division whose daughters are 2 D apart; grows with the square of their distance."
    )
    appearance: Cost = Field(default=1.0, description="Object that was not there before.")
    disappearance: Cost = Field(default=1.0, description="Object that is not there any more.")
    border: Fraction = Field(
        default=0.6, description="Factor on the last two at the border of the volume; from 2 D inside it is 1."
    )
    neighbours: Annotated[int, Field(ge=1, le=50)] = Field(
        default=6,
        description="Nearest objects, before and after, that are candidates; those that overlap always are.",
    )
    daughters: Annotated[int, Field(ge=2, le=20)] = Field(
        default=4, description="Nearest objects of which any two are candidates to be daughters."
    )
    flow_neighbours: Annotated[int, Field(ge=1, le=100)] = Field(
        default=12, description="Neighbours whose motion tells how an object's surroundings move."
    )
    max_distance: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="Longest link in µm. `auto`: 4 D."
    )


class Joint(Settings):
    """`joint`: which of the merged objects are candidates, and what taking one is worth. See docs/tracking.md."""

    minimum_height: Fraction = Field(
        default=0.0, description="Objects with a mean boundary between them below this are merged in any case."
    )
    maximum_height: Fraction = Field(
        default=1.0, description="Objects with a mean boundary between them above this are never merged."
    )
    minimum_volume_um3: NotNegative = Field(default=0.0, description="Smaller candidates are left out, in µm³.")
    maximum_volume_um3: PositiveFloat | Literal["auto"] | None = Field(
        default="auto",
        description="Larger candidates are left out, in µm³. `auto`: 20 times the volume of the object in which the "
        "median voxel lies. null keeps all.",
    )
    minimum_change: Fraction = Field(
        default=0.05, description="A candidate that lacks less than this share of the next larger one is left out."
    )
    cover: Cost = Field(default=2.0, description="Reward for taking a candidate: smaller values leave more out.")
    persistence: Cost = Field(
        default=1.0, description="Reward for a candidate that stands out at every threshold of the boundary map."
    )
    context: Annotated[int, Field(ge=1, le=20)] = Field(
        default=2, description="Time points on either side of a window, or of the junction of two, that are looked at."
    )


class Volume(Settings):
    """`volume`: time as an axis of the graph."""

    beta: Probability = Field(
        default=0.5,
        description="As `partition.beta`, for contacts within a time point and overlaps between two, whose evidence is "
        "the part of the smaller object that is not shared.",
    )
    minimum_length: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Objects that are there at fewer time points are removed."
    )


class Track(Settings):
    """Link the objects of a movie from time point to time point, with divisions."""

    method: Literal["program", "greedy", "joint", "volume", "none"] = Field(
        default="program",
        description="`program`: the links and divisions of least cost, by integer programming. `greedy`: the best "
        "matching of each pair of time points, then divisions; faster. `joint`: of the objects of `segment`, which "
        "should be too many rather than too few, and what they can be merged to, those are chosen that persist in "
        "time (after Ultrack). `volume`: time is an axis like z, and what the partition joins across it is a track. "
        "`none`: no tracks.",
    )
    drift: bool = Field(
        default=False, description="Estimate the motion of the whole from each time point to the next, and undo it."
    )
    maximum_drift_um: PositiveFloat = Field(default=20.0, description="Largest drift that is looked for, in µm.")
    window: Annotated[int, Field(ge=2)] = Field(
        default=6,
        description="`joint`: time points that are solved at once; with `joint.context` on either side they are what a "
        "job holds in memory. Other methods hold two.",
    )
    costs: Costs = Field(default=Costs(), description=str(Costs.__doc__))
    joint: Joint = Field(default=Joint(), description=str(Joint.__doc__))
    volume: Volume = Field(default=Volume(), description=str(Volume.__doc__))

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.method == "joint" and self.window < 2 * self.joint.context:
            raise ValueError(f"window: {self.window} is less than twice joint.context ({self.joint.context})")
        return self
