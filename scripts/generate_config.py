"""Write config/config.yaml, config/config.schema.json and config/README.md from the models (``make config``)."""

from __future__ import annotations

from pathlib import Path

from bigseg.config.documents import default_yaml, reference, schema

FOLDER = Path(__file__).parent.parent / "config"

EXAMPLE = {
    "example": {
        "input": {"path": "config/example/tissue.tif"},
        "truth": {"path": "config/example/truth.tif"},
    }
}
"""A tiny tissue that lies in the repository, so that `snakemake` works in a fresh checkout."""


def documents() -> dict[Path, str]:
    """The generated files with their content."""
    return {
        FOLDER / "config.yaml": default_yaml(EXAMPLE),
        FOLDER / "config.schema.json": schema(),
        FOLDER / "README.md": reference(),
    }


if __name__ == "__main__":
    for path, content in documents().items():
        path.write_text(content, encoding="utf-8")
        print(f"wrote {path}")
