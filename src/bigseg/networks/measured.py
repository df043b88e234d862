"""The reach of a network whose layers cannot be read (TorchScript, unusual ONNX): change voxels, see what changes.

All voxels on one side of a plane are replaced and the outputs compared. What differs tells how far the plane is seen;
several random inputs are tried. This finds the reach that matters at the precision of float32; one by construction may
be larger.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from bigseg.errors import UserError
from bigseg.networks.reach import Reach

Forward = Callable[[torch.Tensor], torch.Tensor]

_CANDIDATES = (1, 2, 4, 8, 16, 32, 64)
_ROUNDS = 3
_TOLERANCE = 1e-6


class NotLocalError(UserError):
    """The network seems to look at the whole patch, or farther than can be tried."""


def find_divisibility(forward: Forward, dims: int, channels: int, extent: int) -> int:
    """The smallest power of two by which the input may be shifted so that the output shifts with it.

    Args:
        forward: (1, channels, [z,] y, x) to (1, outputs, [z,] y, x).
        dims: 2 or 3.
        channels: of the input.
        extent: length of the inputs to try with; must be enough for voxels in the middle not to see the edges.

    Raises:
        NotLocalError: there is none.
        UserError: the output has another size than the input.
    """
    generator = torch.Generator().manual_seed(0)
    for step in _CANDIDATES:
        length = max(extent, 2 * step) // step * step
        wide = torch.randn((1, channels, *(length + step,) * dims), generator=generator)
        shifted, plain = _cut(wide, step, step + length), _cut(wide, 0, length)
        try:
            one, other = forward(plain), forward(shifted)
        except (RuntimeError, ValueError):
            continue
        if one.shape[2:] != plain.shape[2:]:
            raise UserError(
                f"the network makes {list(one.shape[2:])} of {list(plain.shape[2:])} voxels",
                "only networks whose output has the size of the input can be used",
            )
        middle = length // 2
        here, there = _cut(one, middle - step, middle + step), _cut(other, middle - 2 * step, middle)
        if torch.allclose(here, there, atol=1e-5, rtol=1e-4):
            return step
    raise NotLocalError(
        "the network's output does not shift with its input by any power of two up to 64",
        "describe the model in a BioImage.IO package, with `step` and `halo` for each axis",
    )


def measure_reach(forward: Forward, shape: tuple[int, ...], channels: int, divisibility: tuple[int, ...]) -> Reach:
    """How far each output voxel sees, per axis.

    Args:
        forward: (1, channels, *shape) to (1, outputs, *shape).
        shape: shape of the inputs to try with.
        channels: of the input.
        divisibility: per axis.

    Raises:
        NotLocalError: the network sees the whole of ``shape``.
    """
    before, after = [], []
    for axis, (length, step) in enumerate(zip(shape, divisibility, strict=True)):
        if length == 1:
            before.append(0)
            after.append(0)
            continue
        cut = length // 2 // step * step
        low, high = cut, cut - 1  # the changed half is [cut, length): outputs from `low` on see it
        for seed in range(_ROUNDS):
            generator = torch.Generator().manual_seed(seed)
            base = torch.randn((1, channels, *shape), generator=generator)
            reference = forward(base)
            # A plane at a multiple of the divisibility is enough, because patches begin and end at such planes.
            low = min(low, _first_change(forward, base, reference, axis, cut, length))
            high = max(high, _last_change(forward, base, reference, axis, cut))
        if low <= 0 or high >= length - 1 - step:
            raise NotLocalError(
                f"the network sees farther than {cut} voxels, or the whole patch",
                "describe the model in a BioImage.IO package, with `step` and `halo` for each axis",
            )
        before.append(high - (cut - 1))
        after.append(cut - low)
    return Reach(tuple((b,) for b in before), tuple((a,) for a in after))


def _first_change(
    forward: Forward, base: torch.Tensor, reference: torch.Tensor, axis: int, place: int, length: int
) -> int:
    """The first output along an axis that changes with the voxels from ``place`` on."""
    changed = base.clone()
    changed.narrow(axis + 2, place, length - place).mul_(-1).add_(0.5)
    touched = _touched(forward(changed), reference, axis)
    return int(touched[0]) if len(touched) else place


def _last_change(forward: Forward, base: torch.Tensor, reference: torch.Tensor, axis: int, place: int) -> int:
    """The last output along an axis that changes with the voxels before ``place``."""
    changed = base.clone()
    changed.narrow(axis + 2, 0, place).mul_(-1).add_(0.5)
    touched = _touched(forward(changed), reference, axis)
    return int(touched[-1]) if len(touched) else place - 1


def _touched(output: torch.Tensor, reference: torch.Tensor, axis: int) -> torch.Tensor:
    difference = (output - reference).abs().movedim(axis + 2, 0).flatten(1).amax(dim=1)
    return torch.nonzero(difference > _TOLERANCE * max(1.0, float(reference.abs().max()))).flatten()


def _cut(image: torch.Tensor, begin: int, end: int) -> torch.Tensor:
    """The same part of all axes in space."""
    for axis in range(2, image.dim()):
        image = image.narrow(axis, begin, end - begin)
    return image
