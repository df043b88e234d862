"""Stage ``ingest``: the image into block-sized shards, and its global intensity statistics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bigseg.config.samples import owner
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.layout import MADE_AGAIN, Layout
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    check_copy,
    image_parameters,
    storage_parameters,
)
from bigseg.volumes.figures import holds_figures, read_figures
from bigseg.volumes.signature import files_signature, time_files

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.kernels.histogram import Histogram
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray

VERSION = 1


class IngestBlocks(BlockStep):
    """Copy blocks of the image (or only look at them, where it is referenced) and count their intensities."""

    stage, step, version = "ingest", "blocks", VERSION
    opens = ("_source",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the image is, how it is stored, whether it is copied."""
        return {
            **storage_parameters(plan),
            "input": plan.sample.input.place(),
            "channels": plan.header.number_of_channels,
            "dtype": plan.header.dtype,
            "owner": owner(plan.sample),
            "copy": image_parameters(config, plan)["copy"],
            **background_parameters(plan),
        }

    def needs_within(self, box: Box) -> list[Need]:
        """Nothing but the input files."""
        return []

    def evidence(self, piece: int) -> str:
        """The state of the input files of the time point."""
        return self._signature

    def tables(self, piece: int) -> list[Path]:
        """The histograms of all channels."""
        return [self.layout.table("ingest", "histogram", self.time, piece)]

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """The copy of the image, if there is one."""
        from bigseg.volumes.image import copied_image

        if not self.parameters["copy"]:
            return []
        return [(copied_image(self.layout, self.parameters, self.time), self.parameters["channels"])]

    def process(self, piece: int) -> Outcome:
        """Read a block, refuse what is no number, write it, count its intensities."""
        from bigseg.volumes.image import claim_result
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        blocks = [self._finite(self._read(c, box), c, box) for c in range(self.parameters["channels"])]
        claim_result(self.layout, self.parameters["owner"])
        for store, _ in self.arrays():
            for channel, block in enumerate(blocks):
                store.write(self.time, channel, box, block)
        counted = _counting(blocks, self.parameters.get("background"))
        (path,) = self.tables(piece)
        write_table(path, _count(counted))
        return Outcome(digest_arrays(*blocks), {} if any(block.size for block in counted) else {"empty": True})

    def rehash(self, piece: int, record: Record) -> str:
        """The copy of the image, or the image itself where it is used where it lies; the histogram follows from it."""
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import read_checked

        if self.parameters["copy"]:
            image: VolumeArray | Source = VolumeArray(self.layout.image(), "tczyx", self.grid.shape)
        else:
            image = self._source
        blocks = [image.read(self.time, c, self.grid.box(piece)) for c in range(self.parameters["channels"])]
        digest = digest_arrays(*blocks)
        if digest == record.digest:
            (path,) = self.tables(piece)
            check_copy(path, read_checked(path), _count(_counting(blocks, self.parameters.get("background"))))
        return digest

    @cached_property
    def _signature(self) -> str:
        return files_signature(time_files(self.user_input("input"), self.time))

    @cached_property
    def _source(self) -> Source:
        """The input, opened once per job."""
        return self.open_user("input")

    def _read(self, channel: int, box: Box) -> np.ndarray:
        """Voxels of the input; what cannot be read only now can still be left out."""
        try:
            return self._source.read(self.time, channel, box)
        except UserError as error:
            remedy = f"{error.remedy}; or leave time point {self.time} out: list the others in `times` of the sample"
            raise UserError(error.problem, remedy) from error

    def _finite(self, block: np.ndarray, channel: int, box: Box) -> np.ndarray:
        import numpy as np

        if block.dtype.kind == "f" and not np.isfinite(block).all():
            place = np.argwhere(~np.isfinite(block))[0] + np.array(box.begin)
            path = self.parameters["input"]["path"]
            raise UserError(
                f"{path}: holds NaN or infinite values, the first at (z, y, x) = {tuple(map(int, place))} "
                f"of channel {channel}, time point {self.time}",
                "replace them (for example by 0) in the file",
            )
        return block


def background_parameters(plan: SamplePlan) -> Parameters:
    """The intensity of voxels without data, where there are any: their number must not count."""
    background = plan.sample.background
    return {} if background is None else {"background": background}


def _counting(blocks: Sequence[np.ndarray], background: float | None) -> Sequence[np.ndarray]:
    """The voxels of each channel of a block that count in the statistics."""
    return blocks if background is None else [block[block != background] for block in blocks]


def _count(blocks: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The histograms of the channels of a block as the columns of a table."""
    import numpy as np

    from bigseg.kernels.histogram import histogram

    counted = [histogram(block) for block in blocks]
    return {
        "channel": np.repeat(np.arange(len(counted), dtype=np.uint16), [len(h.bins) for h in counted]),
        "bin": np.concatenate([h.bins for h in counted]),
        "count": np.concatenate([h.counts for h in counted]),
    }


class IngestStatistics(WholeStep):
    """Merge the intensity histograms of the blocks of a time point, so that all blocks are normalised alike."""

    stage, step, version = "ingest", "statistics", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What is merged."""
        return {
            "blocks": plan.grid.number_of_blocks,
            "channels": plan.header.number_of_channels,
            "dtype": plan.header.dtype,
            "path": plan.sample.input.path,
            **background_parameters(plan),
        }

    def needs(self, piece: int) -> list[Need]:
        """All blocks of the time point."""
        return [Need("ingest.blocks", range(self.parameters["blocks"]), self.parameters["blocks"])]

    def process(self, piece: int) -> Outcome:
        """Write percentiles, mean and standard deviation of each channel."""
        import numpy as np

        from bigseg.kernels.histogram import Histogram, histogram, mean_and_deviation, merge, percentiles
        from bigseg.volumes.tables import read_table, write_table

        dtype = self.parameters["dtype"]
        statistics: list[dict[str, Any]] = []
        for channel, path in enumerate(self.tables(piece)):

            def parts(channel: int = channel) -> Any:
                for block in range(self.parameters["blocks"]):
                    table = read_table(self.layout.table("ingest", "histogram", self.time, block))
                    own = table["channel"] == channel
                    yield Histogram(dtype, table["bin"][own], table["count"][own])

            merged = merge(parts())
            voxels = int(merged.counts.sum())
            if not voxels:  # nothing but background: constant
                merged = histogram(np.full(1, self.parameters["background"], dtype))
            write_table(path, {"bin": merged.bins, "count": merged.counts})
            mean, deviation = mean_and_deviation(merged)
            percents = [0, 0.1, 1, 5, 25, 50, 75, 95, 99, 99.8, 99.9, 100]
            statistics.append(
                {
                    "mean": mean,
                    "standard_deviation": deviation,
                    "voxels": voxels,
                    "percentiles": dict(zip((f"{p:g}" for p in percents), percentiles(merged, percents), strict=True)),
                    "histogram": digest_arrays(merged.bins, merged.counts),
                }
            )
        if all(found["percentiles"]["0"] == found["percentiles"]["100"] for found in statistics):
            value = statistics[0]["percentiles"]["0"]
            raise UserError(
                f"{self.parameters['path']}: time point {self.time} is constant, every voxel is {value:g}: there is "
                "nothing to segment",
                "check the file and its `key`; leave the time point out with `times`",
            )
        write_json(self.layout.statistics(self.time), statistics)
        return Outcome(digest_json(statistics))

    def tables(self, piece: int) -> list[Path]:
        """The histograms of all channels."""
        return [_merged_path(self.layout, self.time, channel) for channel in range(self.parameters["channels"])]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the histograms are there and the statistics still what was written."""
        return super().intact(piece, record) and holds_figures(self.layout.statistics(self.time), record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The statistics, and the histograms whose fingerprints they name."""
        from bigseg.volumes.tables import read_checked

        found = read_figures(self.layout.statistics(self.time))
        digest = digest_json(found)
        if digest == record.digest:
            for path, figures in zip(self.tables(piece), found, strict=True):
                if digest_arrays(*read_checked(path).values()) != figures["histogram"]:
                    raise UserError(f"{path}: is not the histogram that was written", MADE_AGAIN)
        return digest


def read_histogram(layout: Layout, time: int, channel: int, dtype: str) -> Histogram:
    """The intensities of a channel in a whole time point, as step ``ingest.statistics`` wrote them.

    Args:
        layout: where the tables are.
        time: time point.
        channel: of the image, counted from 0.
        dtype: NumPy name of the image's type.

    Raises:
        UserError: the table is missing or damaged.
    """
    from bigseg.kernels.histogram import Histogram
    from bigseg.volumes.tables import read_table

    table = read_table(_merged_path(layout, time, channel))
    return Histogram(dtype, table["bin"], table["count"])


def _merged_path(layout: Layout, time: int, channel: int) -> Path:
    return layout.table("ingest", f"merged-histogram-c{channel}", time)
