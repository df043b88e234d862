"""Models that come with bigseg, named in the configuration by a word instead of a path."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent / "models"


def shipped_models() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/rdf.yaml"))


def find_shipped(name: str) -> Path | None:
    """The folder of the model of that name; None if there is none. A folder of the user's own is ``./name``."""
    folder = _FOLDER / name
    return folder if name.isidentifier() and (folder / "rdf.yaml").is_file() else None
