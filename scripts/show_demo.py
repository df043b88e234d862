"""Print the scores of a finished run and where its files lie: ``show_demo.py CONFIG``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bigseg.config import load_config
from bigseg.layout import Layout


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
        print(f"  result    {layout.result}")
        print(f"  objects   {layout.result_folder / 'objects.parquet'}")
        print(f"  report    {layout.result_folder / 'report.html'}")
        print(f"  overview  {layout.result_folder / 'overview.png'}")


if __name__ == "__main__":
    main()
