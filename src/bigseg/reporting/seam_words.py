"""What the figures of block faces say, in words; the pictures are :mod:`bigseg.reporting.seams`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigseg.kernels.seam_summary import Excess, SeamSummary

SIGNIFICANT = 3
"""Standard errors by which the surface on faces must exceed what is expected to be called a seam."""


def verdict(summary: SeamSummary) -> str:
    """What the figures say, in a sentence or a few."""
    if not summary["axes"]:
        return "The volume is a single block: there are no block faces."
    said = [_verdict_on_surface(summary), _verdict_on_cuts(summary)]
    errors = summary["errors"]
    if errors is not None and errors["near"] is not None and errors["far"] is not None:
        said.append(
            f"{errors['near']:.2%} of the voxels within {summary['distance']} of a block face are in error, "
            f"{errors['far']:.2%} of the others."
        )
    return " ".join(said)


def _verdict_on_surface(summary: SeamSummary) -> str:
    together = summary["all_axes"]
    if together["ratio"] is None:
        return "No surface is near the block faces: there is nothing to tell."
    showing = [axis for axis in summary["axes"] if _is_seam(axis)]
    if showing:
        figures = ", ".join(f"{_ratio_text(axis)} across {axis['axis']}" for axis in showing)
    else:
        figures = _ratio_text(together)
    figures = f"block faces have {figures} times the surface of the planes beside them"
    if showing or _is_seam(together):
        return f"The blocks show: {figures}; {together['excess_share']:.2%} of all surface is in excess."
    if together["ratio_error"] is None:
        return f"{figures.capitalize()}; the blocks are too thin to tell whether that is chance."
    return f"The blocks do not show in the surface: {figures}."


def _verdict_on_cuts(summary: SeamSummary) -> str:
    cuts, by_chance = summary["cuts"], summary["cuts_by_chance"]
    pairs = f"{cuts:,} pairs of objects meet" if cuts > 1 else f"{'One' if cuts else 'No'} pair of objects meets"
    chance = f", against {by_chance:,} by chance at as many planes elsewhere" if cuts or by_chance else ""
    return f"{pairs} almost only at block faces{chance}."


def _is_seam(found: Excess) -> bool:
    ratio, error = found["ratio"], found["ratio_error"]
    return ratio is not None and error is not None and ratio - 1 > SIGNIFICANT * error


def _ratio_text(found: Excess) -> str:
    error = found["ratio_error"]
    return f"{found['ratio']:.2f}" + ("" if error is None else f" ± {error:.2f}")
