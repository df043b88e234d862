"""The picture of how much is left to the root as the volume grows."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure


def plot_root_shares(shares: dict[str, list[float]], side: int, path: Path) -> None:
    """Draw the shares against the size of the volume."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    nodes = [(side << levels) ** 3 for levels in range(4)]
    for (method, found), marker in zip(shares.items(), "os^", strict=False):
        axes.plot(nodes, [100 * share for share in found], marker=marker, label=method)
        last = (nodes[-1], 100 * found[-1])
        axes.annotate(f"{last[1]:.1f} %", last, xytext=(6, 2), textcoords="offset points")
    axes.set(xscale="log", xlabel=f"supervoxels in the volume ({side**3:,} in each block)", ylim=(0, 105))
    axes.set_ylabel("left to the root (%)")
    axes.margins(x=0.12)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
