"""Axes, voxel size and channels by the metadata of OME-Zarr and of plain Zarr arrays."""

from __future__ import annotations

from typing import Any

from bigseg.errors import UserError
from bigseg.volumes.axes import CANONICAL
from bigseg.volumes.metadata import Spacing, element_size_um, micrometres, spacing
from bigseg.volumes.zarr_tree import Located, Node

_BY_TYPE = {"time": "t", "channel": "c"}


def stated_axes(located: Located) -> str | None:
    """Axes of the array, one letter of ``tczyx`` per dimension; None where the store does not state them.

    Raises:
        UserError: the OME-Zarr image has an axis that is none of these.
    """
    if located.image is None or not (located.image.multiscale or {}).get("axes"):
        return _dimension_names(located.array)
    letters = [_letter(axis) for axis in located.image.multiscale["axes"]]  # type: ignore[index]
    dimensions = len(located.array.metadata.get("shape", ()))
    if len(letters) != dimensions or len(set(letters)) != dimensions or not set(letters) <= set(CANONICAL):
        raise UserError(
            f"{located.image.folder} states the axes {letters} for an array of {dimensions} dimensions",
            "bigseg reads OME-Zarr of distinct axes t, c, z, y, x; take out the others, or correct the metadata",
        )
    return "".join(letters)


def stated_spacing(located: Located, axes: str | None) -> Spacing | None:
    """Voxel size: the image's scales, else PlantSeg's ``element_size_um``; None without a unit.

    Args:
        located: the array.
        axes: what ``stated_axes`` gave.
    """
    image = located.image.multiscale if located.image is not None else None
    if image is None or axes is None or not image.get("axes"):
        return element_size_um(located.array.attributes.get("element_size_um"))
    dataset = image["datasets"][located.level]
    scales = [_scale(dataset), _scale(image)]
    if scales == [None, None]:
        return None
    lengths: dict[str, float | None] = {}
    for at, (letter, axis) in enumerate(zip(axes, image["axes"], strict=True)):
        length = 1.0
        for scale in scales:
            if scale is not None and len(scale) == len(axes):
                length *= scale[at]
        lengths[letter] = micrometres(length, axis.get("unit") if isinstance(axis, dict) else None)
    return spacing(lengths.get("z"), lengths.get("y"), lengths.get("x"))


def stated_channels(located: Located) -> tuple[str, ...]:
    """Names of the channels by ``omero``; empty where one has none."""
    omero = located.image.ome.get("omero") if located.image is not None else None
    channels = omero.get("channels") if isinstance(omero, dict) else None
    labels = [channel.get("label") if isinstance(channel, dict) else None for channel in channels or ()]
    names = tuple(label for label in labels if isinstance(label, str) and label)
    return names if len(names) == len(labels) else ()


def _letter(axis: Any) -> str:
    name = str(axis.get("name", "") if isinstance(axis, dict) else axis).lower()
    return _BY_TYPE.get(str(axis.get("type", "")), name) if isinstance(axis, dict) else name


def _scale(holder: dict[str, Any]) -> list[float] | None:
    transformations = holder.get("coordinateTransformations")
    for transformation in transformations if isinstance(transformations, list) else ():
        scale = transformation.get("scale") if isinstance(transformation, dict) else None
        if isinstance(scale, list) and all(isinstance(number, (int, float)) for number in scale):
            return [float(number) for number in scale]
    return None


def _dimension_names(array: Node) -> str | None:
    """Axes by Zarr v3's ``dimension_names`` or xarray's attribute, where all are single letters of ``tczyx``."""
    names = array.metadata.get("dimension_names") or array.attributes.get("_ARRAY_DIMENSIONS")
    dimensions = len(array.metadata.get("shape", ()))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    letters = [name.lower() for name in names]
    valid = len(letters) == len(set(letters)) == dimensions and {"y", "x"} <= set(letters) <= set(CANONICAL)
    return "".join(letters) if valid else None
