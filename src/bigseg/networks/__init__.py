"""Networks: their architecture, where models come from, how far they look, and how they are applied to a volume.

``architecture``, ``augment``, ``description``, ``normalisation``, ``reach``, ``settings``, ``shipped`` and ``tiling``
are arithmetic and import no torch: the planner uses them. What runs a network lies in the other modules, which only
jobs import.
"""
