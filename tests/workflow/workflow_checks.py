"""What tests of the workflow share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

Config = dict[str, Any]


def configuration(times: str = "{t}") -> Config:
    """Four blocks in two batches; jobs of one thread, so that two run at once on two cores."""
    return {
        "samples": {
            "cells": {
                "input": {"path": f"files/image_t{times}.tif"},
                "truth": {"path": f"files/truth_t{times}.tif"},
            }
        },
        "blocks": {"block_shape": [24, 32, 32]},
        "execution": {"batches": 2, "threads": 1},
    }


def prepare(folder: Path, cells, config: Config, times: int) -> None:
    """Data and configuration in a folder; paths are relative, so that the folder may be copied."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    for t in range(times):
        for kind in ("image", "truth"):
            if not (folder / "files" / f"{kind}_t{t}.tif").exists():
                shutil.copy2(cells.folder / f"{kind}_t{t}.tif", folder / "files")
    (folder / "config.yaml").write_text(json.dumps(config))


def markers(folder: Path) -> dict[str, str]:
    """Content of every marker by its path."""
    root = folder / "work" / "cells" / "status"
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*.json"))}
