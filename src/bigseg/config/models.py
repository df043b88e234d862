"""The whole configuration."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bigseg.config.model import PositiveFloat, PositiveInt, Settings, Shape
from bigseg.config.samples import SAMPLE_NAME, Sample
from bigseg.config.stages import (
    Evaluate,
    Graph,
    Ingest,
    Measure,
    Partition,
    Predict,
    Pyramid,
    Report,
    Seams,
    Segment,
    Supervoxels,
)
from bigseg.config.tracking import Track


class Blocks(Settings):
    """How volumes are cut into blocks."""

    block_shape: Shape | Literal["auto"] = Field(
        default="auto",
        description="Shape (z, y, x) of a block in voxels, no larger than the volume and a whole number of chunks. "
        "`auto`: about 256³, fitted to each volume.",
    )
    chunk_shape: Shape | Literal["auto"] = Field(
        default="auto",
        description="Shape (z, y, x) of a chunk, the unit that viewers load. A block is one Zarr shard of chunks. "
        "`auto`: the largest divisor of the block up to 64.",
    )


class Execution(Settings):
    """How the work is run. Nothing here changes a result."""

    batches: PositiveInt | Literal["auto"] = Field(
        default="auto",
        description="Jobs per stage and time point; each works through a batch of blocks. `auto`: one for every "
        "64 million voxels, at most 200.",
    )
    threads: PositiveInt = Field(default=2, description="Blocks that a job works on at the same time.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="What networks run on. `cuda` demands a GPU, of the scheduler too; `auto` uses one that is there.",
    )
    network_memory_gb: PositiveFloat = Field(
        default=2.0,
        description="Memory for the layers of a network on the CPU; patches are chosen to fit. On a GPU this is tried.",
    )
    compile: bool = Field(
        default=False, description="Let torch compile the network: minutes at the start of a job, faster after."
    )


class Config(Settings):
    """Everything that a run depends on."""

    samples: Annotated[dict[str, Sample], Field(min_length=1)] = Field(
        description="One entry per data set; the name becomes the name of the result."
    )
    results: Annotated[str, Field(min_length=1)] = Field(default="results", description="Folder of the results.")
    work: Annotated[str, Field(min_length=1)] = Field(
        default="work", description="Folder of intermediates, markers and logs; may be deleted when all is done."
    )
    blocks: Blocks = Field(default=Blocks(), description=str(Blocks.__doc__))
    ingest: Ingest = Field(default=Ingest(), description=str(Ingest.__doc__))
    predict: Predict = Field(default=Predict(), description=str(Predict.__doc__))
    supervoxels: Supervoxels = Field(default=Supervoxels(), description=str(Supervoxels.__doc__))
    graph: Graph = Field(default=Graph(), description=str(Graph.__doc__))
    partition: Partition = Field(default=Partition(), description=str(Partition.__doc__))
    segment: Segment = Field(default=Segment(), description=str(Segment.__doc__))
    pyramid: Pyramid = Field(default=Pyramid(), description=str(Pyramid.__doc__))
    measure: Measure = Field(default=Measure(), description=str(Measure.__doc__))
    track: Track = Field(default=Track(), description=str(Track.__doc__))
    evaluate: Evaluate = Field(default=Evaluate(), description=str(Evaluate.__doc__))
    seams: Seams = Field(default=Seams(), description=str(Seams.__doc__))
    report: Report = Field(default=Report(), description=str(Report.__doc__))
    execution: Execution = Field(default=Execution(), description=str(Execution.__doc__))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.samples:
            if not re.fullmatch(SAMPLE_NAME, name):
                raise ValueError(f"samples.{name}: names are made of letters, digits, '_' and '-'")
        block, chunk = self.blocks.block_shape, self.blocks.chunk_shape
        if chunk != "auto":
            if block == "auto":
                raise ValueError("blocks.chunk_shape: can only be given together with blocks.block_shape")
            legal = [max(c, b // c * c) for b, c in zip(block, chunk, strict=True)]
            if legal != list(block):
                raise ValueError(
                    f"blocks.block_shape: {block} is not a whole number of chunks {chunk}; a legal shape is {legal}"
                )
        if os.path.abspath(self.results) == os.path.abspath(self.work):
            raise ValueError(f"work: {self.work!r} must differ from results, because it may be deleted")
        return self
