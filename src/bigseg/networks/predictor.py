"""Apply a model to blocks: patches in batches, on the CPU or a GPU, one forward pass at a time.

Blocks are read and written by other threads meanwhile (:mod:`bigseg.stages.predict.blocks`). All forward passes run in
one thread of their own, which alone uses the given number of torch's threads, so that a job never runs more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from bigseg.errors import UserError, concerning
from bigseg.geometry.box import Box, Triple, triple
from bigseg.machine import Machine
from bigseg.networks.augment import Transform, partners, transforms
from bigseg.networks.backends import OnnxNetwork, is_out_of_memory
from bigseg.networks.maps import Maps, check_probabilities, encode
from bigseg.networks.model import Model
from bigseg.networks.tiling import Patch, Tiling, choose_core, core_candidates, patch_shape, voxels

Tensor = torch.Tensor
Arrays = dict[str, np.ndarray]

_PRECISION = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_MOST_PATCHES = 16
"""Patches in a batch at most; beyond that a batch is no faster."""


@dataclass(frozen=True)
class Options:
    """What of the configuration changes the result.

    Attributes:
        maps: what the channels are.
        dtype: ``uint8``, ``float16`` or ``float32``.
        augment: ``none``, ``flips`` or ``rotations``.
        activation: ``none``, ``sigmoid`` or ``softmax``, for networks that were exported without it.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        core: shape of a patch without its surroundings, None where it may be chosen to fit into memory.
    """

    maps: Maps
    dtype: str = "uint8"
    augment: str = "none"
    activation: str = "none"
    precision: str = "float32"
    core: Triple | None = None


class Predictor:
    """A model on a device, applied to blocks of one volume."""

    def __init__(self, model: Model, tiling: Tiling, options: Options, machine: Machine, block_shape: Triple) -> None:
        """Place the model.

        Args:
            model: the model.
            tiling: how it is applied.
            options: what of the configuration changes the result.
            machine: what it runs on.
            block_shape: shape of the blocks, but for smaller ones at the upper edges.

        Raises:
            UserError: a GPU was demanded and there is none, or the options do not fit the model.
        """
        self.model, self.tiling, self.options, self.machine = model, tiling, options, machine
        with concerning("execution.device", "set it to auto"):
            self.device = choose_device(machine.device)
        self.transforms = transforms(options.augment, model.description.dims)
        self._layout = memory_layout(model.description.dims, self.device)
        self._network = self._place()
        self._core = options.core
        self._batch = 0
        self._block_shape = block_shape
        self._thread = ThreadPoolExecutor(1, "network", lambda: torch.set_num_threads(machine.threads))

    def close(self) -> None:
        """End the thread and free the device's memory."""
        self._thread.shutdown()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def predict(self, image: np.ndarray, source: Box, block: Box) -> Arrays:
        """The maps of a block; may be called from several threads at once.

        Args:
            image: (c, z, y, x) float32, pre-processed voxels of ``source``.
            source: which voxels of the volume they are; at least ``tiling.needed(block, core)``.
            block: the block.

        Returns:
            The maps by name (:meth:`Maps.compose`), encoded.

        Raises:
            UserError: the output is no probability, or nothing fits into memory.
        """
        values = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        return self._thread.submit(self._block, values, source, block).result()

    @property
    def core(self) -> Triple | None:
        """Shape of the patches without their surroundings, once chosen."""
        return self._core

    def forward(self, batch: Tensor) -> Tensor:
        """One pass of the network with everything that belongs to it, on the device."""
        kind = _PRECISION.get(self.options.precision)
        with torch.inference_mode(), torch.autocast(self.device.type, kind, enabled=kind is not None):
            output = self._network(batch)
        output = output.float()
        if self.options.activation == "sigmoid":
            return torch.sigmoid(output)
        return torch.softmax(output, dim=1) if self.options.activation == "softmax" else output

    def _place(self) -> Callable[[Tensor], Tensor]:
        network = self.model.network
        if isinstance(network, OnnxNetwork):
            network.place(str(self.device), self.machine.threads)
        elif isinstance(network, torch.nn.Module):
            network.to(self.device)
            if self.device.type == "cuda":
                torch.backends.cudnn.benchmark = True
            network.to(memory_format=self._layout)  # type: ignore[call-overload]
            if self.machine.compile:
                self.model.network = torch.compile(network)
        return self.model

    def _block(self, image: Tensor, source: Box, block: Box) -> Arrays:
        """Go through a block; where memory runs out, once more with half of the patch."""
        while True:
            if self._core is None:
                self._core = self._fitting_core(self._block_shape)
            try:
                return self._patches(image, source, block, self._core)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._halve()

    def _halve(self) -> None:
        """Take smaller batches, then smaller patches."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._batch > 1:
            self._batch //= 2
            warnings.warn(f"out of memory: going on with batches of {self._batch} patches", stacklevel=2)
            return
        core = self._core or self._block_shape
        smaller = [c for c in core_candidates(self.tiling, core) if 2 * voxels(c) <= voxels(core)]
        if not smaller or self.tiling.lattice:
            shape = list(patch_shape(self.tiling, core))
            raise UserError(
                f"a patch of {shape} voxels does not fit into the memory of {self.device}"
                + (", and another one would change the result of this network" if self.tiling.lattice else ""),
                f"set predict.patch to half of {list(core)}, or take a smaller blocks.block_shape",
            )
        self._core = smaller[0]
        warnings.warn(f"out of memory: going on with patches of {list(self._core)} voxels", stacklevel=2)

    def _fitting_core(self, block: Triple) -> Triple:
        if self.device.type == "cuda":
            return choose_core(self.tiling, block, self._probe)
        return choose_core(self.tiling, block, self._affordable)

    def _affordable(self, shape: Triple) -> bool:
        need = voxels(shape) * self.model.description.bytes_per_voxel
        return need <= self.machine.network_memory_gb * 1e9

    def _probe(self, shape: Triple) -> bool:
        """Whether a forward pass of a patch fits into the GPU's memory; only trying tells."""
        model = self.model.description
        size = (shape[0], model.in_channels, *shape[1:]) if model.dims == 2 else (1, model.in_channels, *shape)
        try:
            self.forward(torch.zeros(size, device=self.device))
            torch.cuda.synchronize(self.device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    def _patches(self, image: Tensor, source: Box, block: Box, core: Triple) -> Arrays:
        blended = self.tiling.overlap
        frame = self.tiling.in_frame(block)
        shape = block.shape
        arrays: Arrays = {}
        total = torch.zeros((len(self.options.maps.roles), *shape)) if blended else None
        weight = torch.zeros(shape) if blended else None
        for patch, output in self._outputs(image, source, self.tiling.patches(block, core)):
            visible = _clip(patch.used, frame)
            place = visible.inside(frame).slices
            part = output[(slice(None), *visible.inside(patch.given).slices)]
            check_probabilities(part, self.options.maps.roles)
            weights = self.tiling.weights(patch)
            if total is None or weight is None or weights is None:
                self._store(arrays, part, place, shape)
                continue
            z, y, x = (torch.tensor(row) for row in weights)
            tent = z[:, None, None] * y[:, None] * x
            total[(slice(None), *place)] += tent * part.cpu()
            weight[place] += tent
        if total is not None and weight is not None:
            self._store(arrays, total / weight, (slice(None),) * 3, shape)
        return arrays

    def _store(self, arrays: Arrays, part: Tensor, place: tuple[slice, ...], shape: Triple) -> None:
        for name, values in self.options.maps.compose(part).items():
            coded = encode(values, self.options.dtype).cpu().numpy()
            whole = arrays.setdefault(name, np.zeros((*coded.shape[:-3], *shape), coded.dtype))
            z, y, x = place
            whole[..., z, y, x] = coded

    def _outputs(self, image: Tensor, source: Box, patches: Sequence[Patch]) -> Iterator[tuple[Patch, Tensor]]:
        """The output (channels, z, y, x) of every patch, on the device."""
        if not self._batch:
            largest = max((voxels(p.given.shape) for p in patches), default=1)
            budget = self.machine.network_memory_gb * 1e9 / self.model.description.bytes_per_voxel
            # On the CPU a forward pass keeps all threads busy anyway.
            self._batch = max(1, min(_MOST_PATCHES, int(budget // largest))) if self.device.type == "cuda" else 1
        for group in _groups(patches, self._batch):
            batch = torch.stack([self._fill(image, source, patch.given) for patch in group])
            outputs = self._augmented(batch.to(self.device, non_blocking=True))
            yield from zip(group, outputs, strict=True)

    def _augmented(self, batch: Tensor) -> Tensor:
        """The mean over the transforms; (n, c, z, y, x) to (n, outputs, z, y, x)."""
        if len(self.transforms) == 1:
            return self._network_on(batch)
        first = self._network_on(batch)
        total, count = first.clone(), torch.ones_like(first)
        for transform in self.transforms[1:]:
            output = _turn_back(self._network_on(_turn(batch, transform)), transform)
            self._add(total, count, output, transform)
        return total / count

    def _add(self, total: Tensor, count: Tensor, output: Tensor, transform: Transform) -> None:
        maps = self.options.maps
        plain = [i for i, role in enumerate(maps.roles) if role != "affinity"]
        total[:, plain] += output[:, plain]
        count[:, plain] += 1
        for channel, partner in zip(maps.affinities, partners(transform, maps.offsets), strict=True):
            if partner is None:
                continue
            source, shift = partner
            (z, y, x), there = _shifted(shift, output.shape[2:])
            total[:, channel, z, y, x] += output[:, maps.affinities[source], there[0], there[1], there[2]]
            count[:, channel, z, y, x] += 1

    def _network_on(self, batch: Tensor) -> Tensor:
        """A forward pass; planes are a 2D network's batch."""
        if self.model.description.dims == 3:
            return self.forward(batch.to(memory_format=self._layout))
        n, c, z, y, x = batch.shape
        planes = batch.transpose(1, 2).reshape(n * z, c, y, x)
        output = self.forward(planes.to(memory_format=self._layout))
        return output.reshape(n, z, -1, y, x).transpose(1, 2)

    def _fill(self, image: Tensor, source: Box, given: Box) -> Tensor:
        """The voxels of a patch, mirrored beyond the volume's edges."""
        inside = self.tiling.source(given)
        result = image
        for axis in range(3):
            rows = self.tiling.indices(axis, given.begin[axis], given.end[axis])
            first = source.begin[axis]
            if rows == list(range(inside.begin[axis], inside.end[axis])):
                result = result.narrow(axis + 1, inside.begin[axis] - first, len(rows))
            else:
                result = result.index_select(axis + 1, torch.tensor([row - first for row in rows]))
        return result


def choose_device(wanted: str) -> torch.device:
    """The device that was asked for; of several GPUs the one with the most free memory.

    Raises:
        UserError: a GPU was demanded and torch sees none.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        raise UserError(
            "cuda is demanded, but " + ("no GPU is to be seen" if built else "this torch has no CUDA"),
            "start the job on a machine with a GPU, or install a torch with CUDA",
        )
    free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    return torch.device("cuda", free.index(max(free)))


def memory_layout(dims: int, device: torch.device) -> torch.memory_format:
    """How voxels and channels lie in memory where convolutions are fastest.

    On CPUs channels last is 1.1 times as fast in float32 and twice in bfloat16. Not in 2D: there torch's group norm
    crashes the process where an image of one channel lies so.
    """
    if dims == 3:
        return torch.channels_last_3d
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _groups(patches: Sequence[Patch], size: int) -> Iterator[list[Patch]]:
    """Runs of patches of the same shape, at most ``size`` of them."""
    group: list[Patch] = []
    for patch in patches:
        if group and (len(group) == size or group[0].given.shape != patch.given.shape):
            yield group
            group = []
        group.append(patch)
    if group:
        yield group


def _clip(box: Box, within: Box) -> Box:
    begin = triple([max(a, b) for a, b in zip(box.begin, within.begin, strict=True)])
    return Box(begin, triple([min(a, b) for a, b in zip(box.end, within.end, strict=True)]))


def _turn(batch: Tensor, transform: Transform) -> Tensor:
    turned = torch.rot90(batch, 1, (3, 4)) if transform.turned else batch
    return turned.flip([axis + 2 for axis in transform.flipped]) if transform.flipped else turned


def _turn_back(batch: Tensor, transform: Transform) -> Tensor:
    flipped = batch.flip([axis + 2 for axis in transform.flipped]) if transform.flipped else batch
    return torch.rot90(flipped, -1, (3, 4)) if transform.turned else flipped


def _shifted(shift: Triple, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Voxels v, and v + shift, for all v for which both are within the shape."""
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, shape, strict=True))
    return here, there
