"""``python -m bigseg`` is the same as ``bigseg``."""

from bigseg.cli import main

if __name__ == "__main__":
    main()
