"""``bigseg sweep``: score many parameters of the partition on the graph alone.

- :mod:`~bigseg.sweeping.choices`: from lists of values to the sets of parameters that differ.
- :mod:`~bigseg.sweeping.current`: whether the graph is what the configuration would make.
- :mod:`~bigseg.sweeping.scoring`: the partition, its small objects and its scores, in memory.
- :mod:`~bigseg.sweeping.sweep`: all of these, from the configuration to the scores.
- :mod:`~bigseg.sweeping.ranking`: best first, as table, JSON, CSV and picture.
"""
