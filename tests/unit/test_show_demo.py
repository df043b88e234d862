"""What `make demo` prints in the end."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from bigseg.config import load_config
from bigseg.layout import Layout

REPOSITORY = Path(__file__).parents[2]
OBJECTS = {
    "n_result": 5,
    "n_truth": 6,
    "adapted_rand_error": 0.125,
    "ap50": 0.75,
    "voi_split": 0.5,
    "voi_merge": 0.25,
}
TRACKS = {
    "n_tracks_result": 7,
    "tra": 0.9375,
    "det": 0.96875,
    "n_divisions_result": 2,
    "n_divisions_truth": 3,
    "division_f1": 0.8,
}


def test_scores_of_objects_and_tracks_and_where_files_lie(tmp_path, monkeypatch, capsys):
    path = REPOSITORY / "config" / "demo.yaml"
    monkeypatch.chdir(tmp_path)
    config = load_config(path)
    assert list(config.samples) == ["demo", "demo_movie"]
    for sample in config.samples:
        layout = Layout(Path(config.results), Path(config.work), sample)
        layout.result_folder.mkdir(parents=True)
        layout.scores.write_text(json.dumps(OBJECTS))
        divisions = {} if sample == "demo_movie" else {"n_divisions_result": 0, "n_divisions_truth": 0}
        layout.tracking_scores.write_text(json.dumps({"tracking": {**TRACKS, **divisions}}))
    spec = importlib.util.spec_from_file_location("show_demo", REPOSITORY / "scripts" / "show_demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["show_demo.py", str(path)])
    module.main()
    still, movie = capsys.readouterr().out.strip().split("\n\n")
    assert "demo: 5 objects, 6 in the truth" in still
    assert "tracks 7, TRA 0.938, DET 0.969, no divisions" in still
    assert "divisions 2 found, 3 true, F1 0.800" in movie
    for name in ("tracks.parquet", "lineages.png", "report.html", "overview.png", "objects.parquet"):
        assert f"results/demo_movie/{name}" in movie
    assert "results/demo_movie.ome.zarr" in movie
