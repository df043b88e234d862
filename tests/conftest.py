"""What tests of whole runs share: a small tissue with known truth, and Snakemake in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import tifffile

from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue import Tissue

# How fast an example is says more of the machine than of the code.
hypothesis.settings.register_profile("bigseg", deadline=None)
hypothesis.settings.load_profile("bigseg")

REPOSITORY = Path(__file__).resolve().parents[1]
SHAPE = (24, 64, 64)
VOXEL_SIZE_UM = (0.5, 0.25, 0.25)


@dataclass(frozen=True)
class Cells:
    """Files ``image_t0.tif``, ``truth_t0.tif``, … of three time points of a tissue that fills its volume."""

    folder: Path
    image: np.ndarray
    """(t, z, y, x) uint8."""
    truth: np.ndarray
    """(t, z, y, x) uint16."""

    @staticmethod
    def write(path: Path, volume: np.ndarray) -> None:
        """An ImageJ TIFF (z, y, x) with the voxel size of the cells."""
        z, y, x = VOXEL_SIZE_UM
        metadata = {"axes": "ZYX", "spacing": z, "unit": "micron"}
        tifffile.imwrite(path, volume, imagej=True, resolution=(1 / x, 1 / y), metadata=metadata)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """The tissue; no test may change its files."""
    folder = tmp_path_factory.mktemp("cells")
    tissue = Tissue(SHAPE, voxel_size_um=VOXEL_SIZE_UM, outline=False)
    rendered = [tissue.render(Box((0, 0, 0), SHAPE), t) for t in range(3)]
    image = np.stack([volume for volume, _ in rendered])
    truth = np.stack([labels for _, labels in rendered]).astype(np.uint16)
    made = Cells(folder, image, truth)
    for t in range(3):
        made.write(folder / f"image_t{t}.tif", image[t])
        made.write(folder / f"truth_t{t}.tif", truth[t])
    return made


@dataclass(frozen=True)
class Run:
    """What a run of a command gave."""

    status: int
    output: str
    errors: str

    @property
    def text(self) -> str:
        """All that the user sees."""
        return self.output + self.errors

    @property
    def jobs(self) -> dict[str, int]:
        """Number of jobs per rule that Snakemake planned, without the target rules."""
        if "Nothing to be done" in self.text:
            return {}
        lines = iter(self.text.splitlines())
        found = {}
        for line in lines:
            if line.startswith("Job stats:"):
                break
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "total":
                if count.strip() == "0":
                    return {}
                break
            if count.strip().isdecimal():
                found[name] = int(count)
        assert found, f"no plan in: {self.text}"
        return {name: count for name, count in found.items() if name not in ("default", "all")}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``bigseg`` in this process; gives exit status, standard output and standard error."""
    from bigseg.cli import main  # limits the threads of libraries: not for tests that do not ask for it

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bigseg", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment in which `snakemake` and `bigseg` are those of this interpreter, without a profile of the user's."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    return {**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Callable[..., Run]:
    """Run a command in a folder: ``command(folder, "snakemake", "-n")``."""

    def run(folder: Path, *arguments: str) -> Run:
        done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        return Run(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def snakemake(command: Callable[..., Run]) -> Callable[..., Run]:
    """Run the workflow of this checkout in a folder: ``snakemake(folder, "-n")``; nothing is written elsewhere."""
    snakefile = str(REPOSITORY / "Snakefile")

    def run(folder: Path, *arguments: str) -> Run:
        return command(folder, "snakemake", "--snakefile", snakefile, "--cores", "2", *arguments)

    return run
