"""Maps that give lifted edges: which of them a method uses, and whether it can."""

from __future__ import annotations

from bigseg.config.samples import Sample
from bigseg.errors import UserError
from bigseg.geometry.box import Triple

_USED_BY = {
    "lifted_multicut": ("nuclei", "semantic", "affinities"),
    "mutex_watershed": ("affinities",),
}


def evidence_roles(sample: Sample, method: str) -> list[str]:
    """The maps of a sample from which a method of the partition makes lifted edges; they need not be given."""
    return [role for role in _USED_BY.get(method, ()) if getattr(sample, role) is not None]


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
