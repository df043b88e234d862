"""Pure functions, array in and array out: no files, no configuration."""
