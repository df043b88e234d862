"""Regions of interest as users write them."""

from __future__ import annotations

import re

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple

_AXES = "zyx"


def parse_roi(text: str, volume: Triple) -> Box:
    """The box that ``z0:z1,y0:y1,x0:x1`` means: voxels as in NumPy, the ends not included; an end may be left out.

    Args:
        text: also with brackets and spaces, as messages write boxes.
        volume: shape (z, y, x).

    Raises:
        UserError: it is no such region, or holds no voxel of the volume.
    """
    remedy = "write it as Z0:Z1,Y0:Y1,X0:X1 in voxels, e.g. 0:64,100:200,: ; the last voxel of each is END - 1"
    parts = text.strip().strip("[]").split(",")
    found = [re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part) for part in parts]
    if len(found) != len(_AXES) or not all(found):
        raise UserError(f"--roi {text!r}: is no region", remedy)
    begin, end = [], []
    for axis, match, length in zip(_AXES, found, volume, strict=True):
        first, past = (int(match[1] or 0), int(match[2] or length)) if match else (0, 0)
        if not 0 <= first < past <= length:
            raise UserError(f"--roi {text!r}: {first}:{past} along {axis} is not within 0:{length}", remedy)
        begin.append(first)
        end.append(past)
    return Box(triple(begin), triple(end))
