"""Every benchmark, in small: that it runs to its end and prints the figures that others read. Never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import NoneType, UnionType

import pytest

pytestmark = pytest.mark.benchmark

FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"

SMALL = {
    "memory": ["--sizes", "32", "--block", "32", "--recipes", "gasp"],
    "overhead": ["--quick", "--blocks", "5"],
    "partition": ["--quick", "--methods", "gasp,mutex"],
    "predict": ["--side", "32", "--block", "16", "--features", "2", "--repeats", "1"],
    "recompute": ["--size", "64"],
    "resume": ["--kills", "1", "--pairs", "1", "--shape", "64", "128", "128"],
    "track": ["--quick"],
    "watershed": ["--size", "48", "--repeats", "1"],
}

FIGURES: dict[str, dict[str, object]] = {
    "memory": {"peak_mb": dict, "asked_mb": dict, "outside_half_to_one": list},
    "overhead": {"ms_per_empty_block": float, "plan_s_100k_blocks": float, "plan_gb_100k_blocks": float},
    "partition": {"gasp_identical": True, "gasp_same_as_bioimage_cpp": True, "mutex_identical": True},
    "predict": {"ratio_to_forward_cpu": float, "ratio_to_forward_gpu": float | NoneType, "tiled_equals_whole": True},
    "recompute": {
        "params_exact": True,
        "region_result_identical": True,
        "region_blocks_redone": int,
        "region_blocks_needed": int,
        "time_point_jobs_extra": 0,
    },
    "resume": {
        "kills": 1,
        "digests_identical": True,
        "blocks_redone_max": int,
        "blocks_in_flight": int,
        "time_ratio": float,
    },
    "track": {"seconds": float, "peak_gb": float, "synthetic_division_f1": float, "windowed_energy_gap": float},
    "watershed": {"ratio_to_elf": float, "voi_to_elf_same_normalisation": 0.0},
}
"""Figures that must be there: of a type, or of one value."""


def test_no_benchmark_is_left_out() -> None:
    """That of the scores has a test of its own (test_bench_quality.py): it needs the real data."""
    assert {path.stem for path in FOLDER.glob("[a-z]*.py")} == {*SMALL, "quality"}
    assert FIGURES.keys() == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_runs_to_its_end(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *SMALL[name]], capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for figure, expected in FIGURES[name].items():
        if isinstance(expected, type | UnionType):
            assert isinstance(found[figure], expected), (figure, found[figure])
        else:
            assert found[figure] == expected, figure
