"""Stage ``track``: objects linked from time point to time point, and labels whose ids are the same at all of them.

One module per step, in the order in which they run: ``drift``, ``overlaps``, ``contacts``, ``detections``, ``links``,
``windows`` (with the junctions between them), ``lineages``, ``table``, ``exports``, ``blocks``. Only ``windows``,
``table`` and ``exports`` look at more than two time points.
"""
