"""The HTML report of a sample: planes, sizes, scores, counts, timings and settings on one page."""
