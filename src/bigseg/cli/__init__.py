"""The command line; importing it imports no array library, because every job pays for it."""
