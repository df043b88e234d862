"""Stage ``supervoxels``: distance-transform watershed, block by block.

- :mod:`~bigseg.stages.supervoxels.settings`: what counts as foreground, and how far a block looks around it.
- :mod:`~bigseg.stages.supervoxels.foreground`: the steps that find the threshold of the foreground.
- :mod:`~bigseg.stages.supervoxels.crest`: the image, where boundaries are drawn on its crest.
- :mod:`~bigseg.stages.supervoxels.blocks`: the step that makes supervoxels.
"""
