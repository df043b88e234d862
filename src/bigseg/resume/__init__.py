"""What was done, and whether it must be done again: digests, ledgers and markers (no arrays are kept here)."""
