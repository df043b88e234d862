"""Stage ``partition``: which supervoxels make up an object.

Blocks are the leaves of an octree of superblocks. A superblock solves what it can be sure of and hands the rest to the
level above (:mod:`bigseg.kernels.superblock`); the root solves all that is left. A small volume has no levels: the
root reads the whole graph.

- :mod:`~bigseg.stages.partition.settings`: the method and its parameters, the number of levels.
- :mod:`~bigseg.stages.partition.lifted`: the step that makes lifted edges.
- :mod:`~bigseg.stages.partition.problem`: from the tables of stage ``graph`` to signed edges.
- :mod:`~bigseg.stages.partition.superblocks`: what superblocks write and read; the object of each supervoxel.
- :mod:`~bigseg.stages.partition.levels`: the steps of the levels and the root.
- :mod:`~bigseg.stages.partition.whole`: a graph solved in one piece, by the root and by ``bigseg sweep``.
- :mod:`~bigseg.stages.partition.quality`: the steps that tell how good a multicut is.
- :mod:`~bigseg.stages.partition.paths`: what the object of a supervoxel depends on.
"""
