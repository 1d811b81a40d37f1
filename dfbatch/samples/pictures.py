"""Pictures drawn by arithmetic, for samples that are no photographs."""

from __future__ import annotations

import numpy as np

from dfbatch.samples.photographs import Pixels


def drawn_picture(rng: np.random.Generator, height: int = 384, width: int = 512) -> Pixels:
    """Clouds over a horizon, (height, width, 3): noise with a power spectrum of 1/f^2, coloured."""
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(noise / frequency**1.6, s=(height, width))
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    depth = np.linspace(0.0, 1.0, height)[:, None]
    ground = 1.0 / (1.0 + np.exp(-(depth - 0.62 - 0.08 * (clouds - 0.5)) * 90))
    sky = np.stack([110 + 120 * clouds - 40 * depth, 140 + 90 * clouds, 205 + 40 * clouds - 60 * depth], axis=-1)
    field = np.stack([60 + 90 * clouds, 85 + 80 * clouds, 40 + 50 * clouds], axis=-1)
    mixed = sky * (1 - ground[..., None]) + field * ground[..., None]
    pixels: Pixels = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return pixels
