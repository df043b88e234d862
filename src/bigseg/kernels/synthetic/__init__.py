"""Synthetic data with known truth, any box of any time point by itself; for the demo, tests, benchmarks and training.

:mod:`.tissue` is a tissue that stands still, :mod:`.tissue_movie` one whose cells grow, move, divide and die as
:mod:`.cell_life` tells, seen as :mod:`.movie_stains` shows them. Both find the nearest cell by :mod:`.tissue_tiles`.
"""
