"""Label volumes of any origin and size, looked at block by block in one process, without a run to belong to.

- :mod:`~bigseg.labels.reading`: which volumes are refused, in what blocks they are read.
- :mod:`~bigseg.labels.scores`: scores against a truth, for ``bigseg evaluate``.
- :mod:`~bigseg.labels.tracking`: scores of tracks, likewise.
- :mod:`~bigseg.labels.seams`: what lies on block faces, for ``bigseg seams``.
"""
