"""Print the scores of a finished run and where its files lie: ``show_demo.py CONFIG``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bigseg.config import load_config
from bigseg.layout import LINEAGES, Layout
from bigseg.reporting.page import OVERVIEW, PAGE


def main() -> None:
    """Print one paragraph per sample."""
    config = load_config(Path(sys.argv[1]))
    for sample in config.samples:
        layout = Layout(Path(config.results), Path(config.work), sample)
        scores = json.loads(layout.scores.read_text(encoding="utf-8"))
        print(f"\n{sample}: {scores['n_result']} objects, {scores['n_truth']} in the truth")
        print(
            f"  adapted Rand error {scores['adapted_rand_error']:.3f}, average precision {scores['ap50']:.3f} (IoU 0.5)"
        )
        print(f"  variation of information {scores['voi_split']:.3f} split + {scores['voi_merge']:.3f} merge (bits)")
        files = {"result": layout.result, "objects": layout.result_folder / "objects.parquet"}
        if layout.tracking_scores.exists():
            print(f"  {words_on_tracks(json.loads(layout.tracking_scores.read_text(encoding='utf-8'))['tracking'])}")
            files |= {"tracks": layout.track_table, "lineages": layout.result_folder / LINEAGES}
        files |= {name: layout.result_folder / file for name, file in (("report", PAGE), ("overview", OVERVIEW))}
        for name, path in files.items():
            print(f"  {name:<9} {path}")


def words_on_tracks(scores: dict[str, Any]) -> str:
    """How well the objects of a movie were followed."""
    found, true = (scores[f"n_divisions_{whose}"] for whose in ("result", "truth"))
    divisions = (
        f"divisions {found} found, {true} true, F1 {scores['division_f1']:.3f}" if found or true else "no divisions"
    )
    return f"tracks {scores['n_tracks_result']}, TRA {scores['tra']:.3f}, DET {scores['det']:.3f}, {divisions}"


if __name__ == "__main__":
    main()
