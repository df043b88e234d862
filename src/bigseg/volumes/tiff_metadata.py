"""What a TIFF file states about its image: which series, axes, voxel size, channels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tifffile import TiffFile, TiffPageSeries, xml2dict

from bigseg.errors import UserError
from bigseg.volumes.metadata import Spacing, micrometres, spacing
from bigseg.volumes.problems import DAMAGED

_THUMBNAIL = 0.1
"""A further image with at most this share of the first one's voxels is a thumbnail or label, not data."""


def choose_series(path: Path, tif: TiffFile, key: str | None) -> tuple[int, TiffPageSeries]:
    """The image to read: the one that ``key`` counts from 0, else the only one apart from thumbnails.

    Raises:
        UserError: no such image, several images, or fewer pages than the metadata state.
    """
    series = tif.series
    if not series:
        raise UserError(f"{path} holds no image", DAMAGED)
    shapes = ", ".join(f"`key: '{number}'` (shape {one.shape})" for number, one in enumerate(series[:20]))
    if key is not None:
        if not key.isdecimal() or int(key) >= len(series):
            raise UserError(f"{path} has no image `key: {key}`", f"images of a TIFF are counted; there are: {shapes}")
        number = int(key)
    else:
        number = 0
        if any(math.prod(other.shape) > _THUMBNAIL * math.prod(series[0].shape) for other in series[1:]):
            raise UserError(f"{path} holds {len(series)} images", f"set `key` of this input to one of: {shapes}")
    _check_pages(path, tif, series[number])
    return number, series[number]


def series_axes(series: TiffPageSeries) -> str | None:
    """The axes that the file states, from ``tczyx``; None where it does not.

    Samples (RGB) are channels. A single axis of unknown meaning over planes, as in a plain stack of pages, is z.
    """
    letters = series.axes.lower()
    if "c" not in letters:
        letters = letters.replace("s", "c")
    unknown = [letter for letter in letters if letter not in "tczyx"]
    if len(unknown) == 1 and unknown[0] in "iq" and "z" not in letters and "t" not in letters:
        letters, unknown = letters.replace(unknown[0], "z"), []
    return letters if not unknown and len(set(letters)) == len(letters) else None


def has_default_axes(series: TiffPageSeries) -> bool:
    """Whether axes may be told by the number of dimensions: planes, and nothing known of what counts them."""
    return series.axes.endswith("YX") and set(series.axes[:-2]) <= set("IQ")


def series_spacing(tif: TiffFile, number: int, series: TiffPageSeries) -> Spacing | None:
    """Voxel size by OME or ImageJ metadata; None where they do not tell it with a unit."""
    if series.kind == "ome":
        pixels = _ome_pixels(tif, number)
        # The OME schema sets µm where no unit is written.
        z, y, x = (
            micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "ZYX"
        )
        return spacing(z, y, x)
    if series.kind == "imagej":
        metadata = tif.imagej_metadata or {}
        unit = metadata.get("unit")
        return spacing(
            micrometres(metadata.get("spacing"), metadata.get("zunit", unit)),
            micrometres(_length_of_pixel(tif, "YResolution"), metadata.get("yunit", unit)),
            micrometres(_length_of_pixel(tif, "XResolution"), unit),
        )
    return None


def series_channels(tif: TiffFile, number: int, series: TiffPageSeries) -> tuple[str, ...]:
    """Names of the channels by OME metadata; empty where one has none."""
    if series.kind != "ome":
        return ()
    channels = _ome_pixels(tif, number).get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(channel["Name"]) for channel in channels if isinstance(channel, dict) and "Name" in channel)
    return names if len(names) == len(channels) else ()


def _check_pages(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Raise UserError where the file ends early: tifffile then falls back to the pages that it finds."""
    page_size = math.prod(series.keyframe.shape)
    expected = math.prod(series.shape) // page_size if page_size else 0
    told_by_metadata = series.kind not in ("uniform", "generic")
    if told_by_metadata and series.dataoffset is not None:
        missing = series.dataoffset + series.nbytes > tif.filehandle.size
    else:  # where the last page announces another one, that is not there
        missing = len(series) < expected or bool(tif.pages[-1]._nextifd())
    stated = {name for name in ("imagej", "shaped") if getattr(tif, f"is_{name}")}
    if stated and not told_by_metadata:
        raise UserError(f"{path} has fewer pages or bytes than its {stated.pop()} metadata state", DAMAGED)
    if missing:
        raise UserError(f"{path} ends before its image is complete", DAMAGED)


def _length_of_pixel(tif: TiffFile, tag: str) -> float | None:
    """Unit lengths per pixel from a tag that stores pixels per unit as a fraction."""
    value: Any = tif.pages.first.tags.valueof(tag)
    if not isinstance(value, tuple) or len(value) != 2 or 0 in value:
        return None
    return float(value[1]) / float(value[0])


def _ome_pixels(tif: TiffFile, number: int) -> dict[str, Any]:
    try:
        images: Any = xml2dict(tif.ome_metadata or "")["OME"]["Image"]
    except (KeyError, SyntaxError, TypeError):  # xml's ParseError is a SyntaxError
        return {}
    images = images if isinstance(images, list) else [images]
    image = images[number] if number < len(images) else images[0]
    pixels = image.get("Pixels") if isinstance(image, dict) else None
    return pixels if isinstance(pixels, dict) else {}
