"""Boxes, blocks and batches: integer arithmetic only, no data."""
