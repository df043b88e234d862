"""Files of tracks, read and written; no algorithms.

- :mod:`~bigseg.tracks.table`: bigseg's own table, ``tracks.parquet``.
- :mod:`~bigseg.tracks.ctc`: the text file and the label images of the Cell Tracking Challenge.
- :mod:`~bigseg.tracks.geff`: GEFF, a graph as Zarr.
- :mod:`~bigseg.tracks.napari`: what napari's layer of tracks takes.
"""
