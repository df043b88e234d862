"""What the object of a supervoxel depends on: the maps on the path from its block to the root."""

from __future__ import annotations

from bigseg.geometry.box import Box
from bigseg.geometry.octree import Octree
from bigseg.stages.step import Need


def needs_of_names(tree: Octree, levels: int, blocks: Box) -> list[Need]:
    """What must be there before the objects of the supervoxels of some blocks are looked up.

    The root alone would not do: a cluster that is final below never reaches it, so a map can change while what the root
    gets stays the same. No part of the keys, because each map tells of many more supervoxels than are looked up.

    Args:
        tree: the octree.
        levels: levels below the root.
        blocks: where the supervoxels are, as a box of blocks.
    """
    needs = [
        Need(f"partition.level{level}", tree.ancestors(level, blocks), tree.number(level), in_key=False)
        for level in range(levels)
    ]
    return [*needs, Need("partition.root", [0], in_key=False)]
