"""What tests of `bigseg sweep` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pipeline_checks import Settings
from typer.testing import CliRunner

from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.kernels.scores import Scores
from bigseg.sweeping.choices import Values
from bigseg.sweeping.sweep import Sweep

UP_TO_GRAPH = ("ingest", "predict", "supervoxels", "graph")

UP_TO_SCORES = ("partition", "segment", "measure", "track", "evaluate")


def write(config: Settings) -> Path:
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def swept(config: Settings, *grids: Values, threads: int = 2, **options: Any) -> list[tuple[dict[str, Any], Scores]]:
    """Parameters and scores, in the order of the grids."""
    made = Sweep(write(config), grids, by="voi", **options)
    return [(dict(one.parameters), scored) for one, scored in zip(made.choices, made.scores(threads), strict=True)]


def command(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["sweep", *arguments])
    if status:
        assert isinstance(result.exception, UserError), result.output
        return str(result.exception)
    assert result.exit_code == 0, result.exception
    return result.stdout
