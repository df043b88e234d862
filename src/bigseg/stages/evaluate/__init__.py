"""Stage ``evaluate``: scores against the truth, from tables counted block by block.

- :mod:`~bigseg.stages.evaluate.truth`: what steps have in common that look at a truth, also that of stage ``seams``.
- :mod:`~bigseg.stages.evaluate.objects`: scores of the objects.
- :mod:`~bigseg.stages.evaluate.tracks`: scores of the tracks of a movie.
"""
