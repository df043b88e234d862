"""bigseg: instance segmentation of microscopy volumes that fit in no machine's memory."""

__version__ = "0.1.0"
