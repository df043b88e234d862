"""Stage ``track``: objects linked from time point to time point, and labels whose ids are the same at all of them.

One module per step, in the order in which they run: ``drift``, ``overlaps``, ``contacts``, ``detections``, ``links``,
``windows`` (with the seams between them), ``table``, ``blocks``. Only those from ``windows`` on look at more than two
time points.
"""
