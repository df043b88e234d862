"""Stage ``predict``: the maps from which objects are made.

- :mod:`~bigseg.stages.predict.network`: method ``network``, from configuration to parameters, from image to maps.
- :mod:`~bigseg.stages.predict.blocks`: the step, with method ``intensity``.
"""
