"""Motion of the whole between two images, by phase correlation."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from bigseg.geometry.box import Triple

_SMOOTHING = 1.0
"""Voxels; single noisy voxels must not decide."""


def estimate_drift(before: np.ndarray, after: np.ndarray, largest: Triple) -> np.ndarray:
    """By how much the content of ``before`` has moved in ``after``.

    The normalised cross-power spectrum of two shifted images is a pure phase, whose inverse transform has its peak at
    the shift (Kuglin and Hines 1975). The images fade out towards their edges, or the edges, which never move, would
    win; the peak is looked for within ``largest`` only and refined by a parabola along each axis.

    Args:
        before: (z, y, x) any numbers.
        after: (z, y, x) the same shape.
        largest: (z, y, x) largest shift in voxels that is looked for; 0 for an axis that does not move.

    Returns:
        (3,) float64 shift in voxels; 0 where an image has no content.
    """
    spectra = []
    for image in (before, after):
        values = ndimage.gaussian_filter(image.astype(np.float32), [_SMOOTHING * (n > 1) for n in image.shape])
        values -= values.mean()
        for axis, length in enumerate(values.shape):
            if length > 1:
                fade = np.hanning(length + 2)[1:-1].astype(np.float32)
                values *= fade.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        spectra.append(fft.rfftn(values))
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    if not size.max() > 0:
        return np.zeros(3)
    # Weak frequencies are noise: whitening them as well would give the noise the same say as the image.
    cross /= size + 1e-3 * size.max()
    peak = fft.irfftn(cross, s=before.shape)
    within = [np.arange(-min(m, n // 2), min(m, (n - 1) // 2) + 1) for m, n in zip(largest, before.shape, strict=True)]
    near = peak[np.ix_(*within)]
    at = np.unravel_index(int(near.argmax()), near.shape)
    found = np.zeros(3)
    for axis, (offsets, place) in enumerate(zip(within, at, strict=True)):
        found[axis] = offsets[place]
        if 0 < place < len(offsets) - 1:
            low, mid, high = (near[(*at[:axis], place + step, *at[axis + 1 :])] for step in (-1, 0, 1))
            bend = low - 2 * mid + high
            if bend < 0:
                found[axis] += float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5))
    return found
