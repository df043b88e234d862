"""Maps that give lifted edges: whether a method of the partition can use them, and whether it does."""

from __future__ import annotations

from bigseg.config.samples import MAPS_USED, Sample, evidence_roles
from bigseg.errors import UserError
from bigseg.geometry.box import Triple

_MAPS = tuple(dict.fromkeys(role for roles in MAPS_USED.values() for role in roles))


def unused_beside_segmentation(name: str, sample: Sample) -> list[str]:
    """A line for each map that is given beside a segmentation, which needs none."""
    if sample.segmentation is None:
        return []
    given = [role for role in ("mask", *_MAPS) if getattr(sample, role) is not None]
    return [f"samples.{name}.{role} is not used, because samples.{name}.segmentation is given" for role in given]


def unused_maps(name: str, sample: Sample, method: str) -> list[str]:
    """A line for each map that is given and that the method leaves aside, which a user may not expect.

    Args:
        name: of the sample.
        sample: its configuration.
        method: of the partition.
    """
    lines = []
    for role in _MAPS:
        if getattr(sample, role) is not None and role not in evidence_roles(sample, method):
            methods = " or ".join(other for other, roles in MAPS_USED.items() if role in roles)
            lines.append(f"samples.{name}.{role} is not used: partition.method is {method}; set it to {methods}")
    return lines


def check_evidence(name: str, sample: Sample, method: str, block_shape: Triple) -> None:
    """Refuse maps that a method cannot use.

    Raises:
        UserError: the method needs lifted edges and nothing gives any, or an offset of the affinities is too long.
    """
    roles = evidence_roles(sample, method)
    if method == "lifted_multicut" and not roles:
        raise UserError(
            f"partition.method: lifted_multicut needs lifted edges, and sample {name!r} has no map that gives any",
            f"add samples.{name}.nuclei, samples.{name}.semantic or samples.{name}.affinities, or choose multicut",
        )
    if sample.affinities is None or "affinities" not in roles:
        return
    for offset in sample.affinities.offsets:
        if any(abs(along) > edge for along, edge in zip(offset, block_shape, strict=True)):
            raise UserError(
                f"samples.{name}.affinities.offsets: {offset} is longer than a block, {list(block_shape)} (z, y, x)",
                "leave out that channel, or choose a larger blocks.block_shape: "
                "a block is linked to the blocks around it only",
            )
