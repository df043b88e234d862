"""Options that several commands have, so that they are the same in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("config.yaml")
"""Default of :data:`ConfigFile`."""

ConfigFile = Annotated[Path, typer.Option("--config", "--configfile", help="Configuration of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
OneSample = Annotated[str | None, typer.Option("--sample", help="Only this sample. Default: all.")]
OneTime = Annotated[
    int | None, typer.Option("--time", min=0, help="Only this time point, counted from 0. Default: all.")
]
