"""What a configuration begins with for a kind of staining: the values that differ from the defaults."""

from __future__ import annotations

from typing import Any, Literal

Stain = Literal["membrane", "nuclei", "em"]

STAINS: dict[Stain, dict[str, dict[str, Any]]] = {
    "membrane": {},
    "nuclei": {
        "predict": {"invert": True, "sigma": 1.5},
        "supervoxels": {
            "foreground_threshold": "otsu",
            "foreground_window": 64,
            # Where nuclei end is told by the foreground, and which is which by their shape.
            "threshold": 0.99,
            "alpha": 0.0,
            "sigma_seeds": 4.0,
        },
        "segment": {"remove_isolated": True},
    },
    "em": {"predict": {"invert": True}},
}
"""By kind of staining, by section of the configuration."""

MEANINGS: dict[Stain, str] = {
    "membrane": "bright cell membranes in dense tissue (the defaults)",
    "nuclei": "bright nuclei, separated or touching, on a dark background",
    "em": "dark membranes of dense tissue in electron microscopy",
}
"""What each of them is."""
