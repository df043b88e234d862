"""Volumes to learn from, read box by box, and patches drawn from them; no volume is ever in memory as a whole."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from bigseg.config.training import Training, TrainingVolume
from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.sampling import relative_sampling
from bigseg.kernels.histogram import histogram, merge, values_and_counts
from bigseg.networks.description import Operation
from bigseg.networks.processing import Resolved, Values, apply_steps, resolve
from bigseg.training.augment import Turn, add_gaussian_noise, add_poisson_noise, change_contrast, deform
from bigseg.training.targets import Targets, make_targets, target_margin
from bigseg.volumes.source import open_source

_READ_SHAPE = (64, 256, 256)
"""Boxes in which statistics are gathered."""
_NEARLY_CUBES = 1.1
"""Longest edge of a voxel, relative to the shortest, up to which it counts as a cube."""
_TRIES = 20
"""How often a patch is drawn again because too little of it is labelled."""


class Patch(NamedTuple):
    """Image (c, z, y, x) float32, normalised, and targets of the same box."""

    image: np.ndarray
    targets: Targets


class LabelledVolume:
    """An image with labels, opened lazily. Use it as a context manager."""

    def __init__(self, spec: TrainingVolume, role: str, preprocessing: Sequence[Operation]) -> None:
        """Open both files and gather the statistics of the image.

        Args:
            spec: the volume.
            role: its key in the configuration, for messages, e.g. ``train.0``.
            preprocessing: how the image is normalised, with statistics of the whole volume.

        Raises:
            UserError: files that cannot be read, do not fit each other, or hold no such part.
        """
        self.spec, self.role = spec, role
        self.image = open_source(spec.raw)
        try:
            self.labels = open_source(spec.label)
        except UserError:
            self.image.close()
            raise
        try:
            self.box = self._check()
            self.steps: list[Resolved] = resolve(preprocessing, [self._values(c) for c in spec.channels])
        except UserError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The volume itself; leaving closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close both files."""
        self.image.close()
        self.labels.close()

    @property
    def voxel_size_um(self) -> tuple[float, float, float] | None:
        """Voxel size (z, y, x) in µm, if a file tells."""
        return self.image.header.voxel_size_um or self.labels.header.voxel_size_um

    @property
    def sampling(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) relative to the finest axis, as a run over the whole volume takes it."""
        return relative_sampling(self.voxel_size_um, self.image.header.volume_shape)

    def read_image(self, box: Box) -> np.ndarray:
        """The normalised image (c, z, y, x) float32; ``box`` counts from the volume's corner."""
        return apply_steps(self.read_raw(box), self.steps).astype(np.float32, copy=False)

    def read_raw(self, box: Box) -> np.ndarray:
        """The image as it is stored (c, z, y, x)."""
        return np.stack([self._finite(channel, box) for channel in self.spec.channels])

    def read_labels(self, box: Box) -> np.ndarray:
        """The labels (z, y, x)."""
        return self.labels.read(self.spec.time, 0, box)

    def _check(self) -> Box:
        """The part to use."""
        spec, image, labels = self.spec, self.image.header, self.labels.header
        if image.volume_shape != labels.volume_shape and spec.end is None:
            raise UserError(
                f"{self.role}: the image has shape {list(image.volume_shape)}, its labels {list(labels.volume_shape)}",
                "correct `path`, `key` or `axes` of raw and label, or name the labelled part with `end`",
            )
        if np.dtype(labels.dtype).kind not in "iub":
            raise UserError(
                f"{self.role}.label: {spec.label.path} holds {labels.dtype}, not integers", "correct `path` or `key`"
            )
        for key, value, count in (
            ("channels", max(spec.channels), image.number_of_channels),
            ("time", spec.time, min(image.number_of_times, labels.number_of_times)),
        ):
            if value >= count:
                raise UserError(
                    f"{self.role}.{key}: {value} is not there, the image has {count}", f"they are 0 … {count - 1}"
                )
        both = [min(a, b) for a, b in zip(image.volume_shape, labels.volume_shape, strict=True)]
        end = both if spec.end is None else spec.end
        if any(not 0 <= b < e <= n for b, e, n in zip(spec.begin, end, both, strict=True)):
            raise UserError(
                f"{self.role}: {spec.begin} … {end} is no part of a volume of shape {both}",
                "correct `begin` and `end`",
            )
        return Box(triple(spec.begin), triple(end))

    def _values(self, channel: int) -> Values:
        """The intensities of the whole time point, as ``predict`` takes them."""
        whole = Box((0, 0, 0), self.image.header.volume_shape)
        parts = (histogram(self._finite(channel, box)) for box in tiles(whole, _READ_SHAPE))
        return Values(*values_and_counts(merge(parts)))

    def _finite(self, channel: int, box: Box) -> np.ndarray:
        values = self.image.read(self.spec.time, channel, box)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(
                f"{self.role}.raw: {self.spec.raw.path} holds NaN or infinity", "replace these voxels, e.g. by 0"
            )
        return values


class PatchSampler:
    """Draws patches. Patch (epoch, iteration, number) is always the same, whatever was drawn before."""

    def __init__(self, volumes: Sequence[LabelledVolume], config: Training, dims: int) -> None:
        """Prepare.

        Args:
            volumes: what to draw from; every voxel is as likely as any other.
            config: the training.
            dims: 2 or 3.
        """
        self._volumes, self._config, self._dims = volumes, config, dims
        sizes = np.array([volume.box.size for volume in volumes], np.float64)
        self._shares = sizes / sizes.sum()
        z, y, x = target_margin(config.target)
        self._margin: Triple = (z if dims == 3 else 0, max(y, x), max(y, x))  # whatever the turn
        if config.augment.transpose:
            self._margin = (max(z, y, x),) * 3
            for volume in volumes:
                _check_cubes(volume)

    def draw(self, epoch: int, iteration: int, number: int) -> Patch:
        """One patch, augmented."""
        rng = np.random.default_rng([self._config.seed, epoch, iteration, number, zlib.crc32(b"patch")])
        patch = self._try(rng)
        for _ in range(_TRIES):
            if patch.targets.known.mean() >= self._config.labelled:
                break
            patch = self._try(rng)
        return patch

    def _try(self, rng: np.random.Generator) -> Patch:
        config = self._config
        volume = self._volumes[int(rng.choice(len(self._volumes), p=self._shares))]
        augment = config.augment
        turn = Turn.draw(
            rng, flips=augment.flips, rotations=augment.rotations, transpose=augment.transpose, dims=self._dims
        )
        core = turn.before(triple(config.patch))
        begin = [
            b + int(rng.integers(max(1, e - b - n + 1)))
            for b, e, n in zip(volume.box.begin, volume.box.end, core, strict=True)
        ]
        wanted = Box(triple(begin), triple([b + n for b, n in zip(begin, core, strict=True)]))
        image, labels = read_mirrored(volume, wanted, self._margin)
        image, labels = turn.apply(image), turn.apply(labels)
        if rng.random() < augment.elastic and augment.elastic_amplitude > 0:
            image, labels = deform(
                (image, labels),
                rng,
                amplitude=augment.elastic_amplitude,
                spacing=augment.elastic_spacing,
                sampling=volume.sampling,
            )
        targets = make_targets(labels, config.target, volume.sampling)
        inner = tuple(slice(m, m + n) for m, n in zip(self._margin, config.patch, strict=True))
        kept = (slice(None), *inner)
        cut = Targets(np.ascontiguousarray(targets.values[kept]), np.ascontiguousarray(targets.known[kept]))
        return Patch(self._spoil(np.ascontiguousarray(image[kept]), rng), cut)

    def _spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Contrast and noise."""
        augment = self._config.augment
        standard = self._config.normalise == "standardise"
        dark, bright = (-1.0, 3.0) if standard else (0.0, 1.0)
        if augment.contrast > 0:
            image = change_contrast(image, rng, augment.contrast)
        if rng.random() < augment.poisson_noise:
            image = add_poisson_noise(image, rng, augment.poisson_photons, dark, bright)
        if augment.gaussian_noise > 0:
            # The deviation of an image between its percentiles is about a quarter of their distance.
            image = add_gaussian_noise(image, rng, augment.gaussian_noise * (1.0 if standard else 0.25))
        return image


def _check_cubes(volume: LabelledVolume) -> None:
    """Refuse to change the order of axes that are not equal."""
    size = volume.voxel_size_um
    if size is not None and max(size) > _NEARLY_CUBES * min(size):
        raise UserError(
            f"augment.transpose: voxels of {volume.role} are no cubes, but {list(size)} µm",
            "set augment.transpose to false",
        )


def read_mirrored(volume: LabelledVolume, wanted: Box, margin: Triple) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of a box and a margin around it; what lies outside the volume's part is mirrored."""
    outer = [(b - m, e + m) for b, e, m in zip(wanted.begin, wanted.end, margin, strict=True)]
    limits = zip(volume.box.begin, volume.box.end, strict=True)
    inside = [(max(b, low), min(e, high)) for (b, e), (low, high) in zip(outer, limits, strict=True)]
    box = Box(triple([b for b, _ in inside]), triple([e for _, e in inside]))
    pads = [(i[0] - o[0], o[1] - i[1]) for i, o in zip(inside, outer, strict=True)]
    image, labels = volume.read_image(box), volume.read_labels(box)
    if any(map(any, pads)):
        image = np.pad(image, [(0, 0), *pads], mode="symmetric")
        labels = np.pad(labels, pads, mode="symmetric")
    return image, labels


def validation_boxes(volume: LabelledVolume, largest: Triple, most: int) -> list[Box]:
    """Boxes of at most ``largest`` spread evenly over a volume, at most ``most`` of them."""
    boxes = list(tiles(volume.box, largest))
    if len(boxes) <= most:
        return boxes
    chosen = np.unique(np.linspace(0, len(boxes) - 1, most).round().astype(int))
    return [boxes[i] for i in chosen]


def tiles(box: Box, shape: Sequence[int]) -> Iterator[Box]:
    """Boxes of at most ``shape`` that make up ``box``."""
    starts = [range(b, e, n) for b, e, n in zip(box.begin, box.end, shape, strict=True)]
    for begin in itertools.product(*starts):
        end = [min(b + n, e) for b, n, e in zip(begin, shape, box.end, strict=True)]
        yield Box(triple(list(begin)), triple(end))
