"""Mark stored pieces so that they are made again, though nothing that is known of them has changed."""

from __future__ import annotations

import re
from collections.abc import Collection

from bigseg.errors import UserError
from bigseg.geometry.grid import Grid
from bigseg.geometry.roi import parse_roi
from bigseg.planning.workflow import Workflow
from bigseg.upkeep.jobs import Job, Selection


def parse_blocks(text: str, grid: Grid) -> list[int]:
    """The numbers that e.g. ``3,8-11`` means, ascending.

    Raises:
        UserError: it is no such list, or there is no such block.
    """
    remedy = f"write it as numbers and ranges from 0 to {grid.number_of_blocks - 1}, e.g. 3,8-11"
    blocks: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise UserError(f"--blocks {text!r}: is no list of blocks", remedy)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < grid.number_of_blocks:
            raise UserError(f"--blocks {text!r}: {part.strip()} is not within the volume", remedy)
        blocks.update(range(first, last + 1))
    return sorted(blocks)


def chosen_pieces(
    workflow: Workflow, selection: Selection, roi: str | None = None, blocks: str | None = None
) -> list[tuple[Job, list[int]]]:
    """The pieces that are meant and were made before, by job.

    Args:
        workflow: the configuration.
        selection: which jobs.
        roi: region (:func:`bigseg.geometry.roi.parse_roi`); of each step the pieces of which voxels (without halo) lie
            in it.
        blocks: numbers of blocks, see :func:`parse_blocks`. With a region or blocks, steps of a single piece are left
            out where the selected stages have others: they follow by themselves if what they read changes.

    Raises:
        UserError: something means nothing.
    """
    selection.check(workflow)
    found = []
    for job in selection.jobs(workflow):
        grid = workflow.plans[job.sample].grid
        wanted: Collection[int] = job.pieces
        if roi is not None or blocks is not None:
            if not job.step.in_batches:
                continue
            inside = set(range(grid.number_of_blocks))
            if roi is not None:
                inside &= set(grid.touching(parse_roi(roi, grid.shape)))
            if blocks is not None:
                inside &= set(parse_blocks(blocks, grid))
            wanted = set(job.step.pieces_of(sorted(inside), grid)) & set(job.pieces)
        made = [piece for piece in sorted(wanted) if piece in job.records]
        if made:
            found.append((job, made))
    return found
