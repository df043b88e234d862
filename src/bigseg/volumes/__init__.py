"""Volumes on disk: reading users' files lazily, and bigseg's own Zarr stores and tables."""
