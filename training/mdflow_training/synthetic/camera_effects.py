# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The effects of a real camera: blur, noise, exposure, vignetting, fog, compression. The flow does not change."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Flow, Image
from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.textures import value_noise

BLUR_SAMPLES = 5
NOISE_SIDE = 1024
_NOISE = np.random.default_rng(0x0153).standard_normal((NOISE_SIDE, NOISE_SIDE, 3), dtype=np.float32)
"""Noise is drawn once, and every image uses a different part of it: ten times faster than drawing it again."""


@dataclass(frozen=True)
class Conditions:
    """Probability and strength of each effect.

    Attributes:
        blur: probability of motion blur.
        fog: probability of fog.
        precipitation: probability of rain, snow or dust.
        dark: probability of low light.
        exposure_change: standard deviation of the logarithm of the gain between the two images.
        noise: probability of sensor noise.
        noise_sigma: mean standard deviation of the noise, in gray levels (0 to 255).
    """

    blur: float = 0.2
    fog: float = 0.12
    precipitation: float = 0.03
    dark: float = 0.1
    exposure_change: float = 0.04
    noise: float = 0.6
    noise_sigma: float = 4.0


USUAL = Conditions()


def photograph_pair(random: np.random.Generator, pair: FlowPair, conditions: Conditions = USUAL) -> tuple[Image, Image]:
    """Return the two images of ``pair`` as a camera would have recorded them, ``(H, W, 3)`` uint8 BGR.

    Both have the same camera settings; exposure, white balance, noise and weather change a little between them.
    """
    images = [pair.first, pair.second]
    size = (images[0].shape[0], images[0].shape[1])
    if random.random() < conditions.blur:
        shutter = float(random.uniform(0.1, 0.5))
        images = [
            motion_blur(image, flow, shutter) for image, flow in zip(images, (pair.forward, pair.backward), strict=True)
        ]
    if random.random() < 0.2:
        sigma = float(random.uniform(0.3, 1.5))
        images = [
            np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * both), np.uint8)
            for image, both in zip(images, random.uniform(0.7, 1.3, 2), strict=True)
        ]
    if random.random() < conditions.fog:
        images = fog(random, images)
    if random.random() < conditions.precipitation:
        images = precipitation(random, images)
    images = expose(random, images, conditions)
    if random.random() < 0.25:
        shade = vignette(random, size)
        images = [np.asarray(cv2.multiply(image, shade, dtype=cv2.CV_8U), np.uint8) for image in images]
    if random.random() < conditions.noise:
        sigma = float(random.exponential(conditions.noise_sigma))
        images = [add_noise(random, image, min(sigma, 20.0)) for image in images]
    if random.random() < 0.3:
        quality = int(random.integers(25, 95))
        images = [compress(image, quality) for image in images]
    return images[0], images[1]


def motion_blur(image: Image, flow: Flow, shutter: float) -> Image:
    """Average ``image`` along ``flow`` while the shutter is open, ``shutter`` of the time between the images."""
    height, width = image.shape[:2]
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros(image.shape, np.float32)
    for time in np.linspace(-shutter / 2, shutter / 2, BLUR_SAMPLES, dtype=np.float32):
        moved = cv2.remap(
            image, x + time * flow[..., 0], y + time * flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        cv2.accumulate(moved, total)
    return np.asarray(cv2.convertScaleAbs(total, alpha=1 / BLUR_SAMPLES), np.uint8)


def expose(random: np.random.Generator, images: list[Image], conditions: Conditions = USUAL) -> list[Image]:
    """Change gain, gamma, black level and white balance of both images, and a little between them."""
    dark = random.random() < conditions.dark
    gain = random.uniform(0.15, 0.5) if dark else np.exp(random.normal(0, 0.2))
    balance = np.exp(random.normal(0, 0.08, 3))
    gamma = np.exp(random.normal(0, 0.2))
    level = random.normal(0, 8)
    exposed = []
    for image in images:
        change = np.ones(3)
        if random.random() < 0.5:
            change = np.exp(random.normal(0, conditions.exposure_change)) * np.exp(random.normal(0, 0.015, 3))
        values = (np.arange(256) / 255)[:, None] ** gamma * 255 * (gain * balance * change) + level
        table = np.clip(values, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        exposed.append(np.asarray(cv2.LUT(image, table), np.uint8))
    if dark:
        noise = float(random.uniform(2, 10))
        exposed = [add_noise(random, image, noise) for image in exposed]
    return exposed


def add_noise(random: np.random.Generator, image: Image | NDArray[np.float32], sigma: float) -> Image:
    """Add Gaussian noise of ``sigma`` intensity levels; images larger than `NOISE_SIDE` repeat it."""
    height, width = image.shape[:2]
    top, left = random.integers(0, NOISE_SIDE, 2)
    rows, columns = np.arange(top, top + height) % NOISE_SIDE, np.arange(left, left + width) % NOISE_SIDE
    if top + height <= NOISE_SIDE and left + width <= NOISE_SIDE:
        noise = _NOISE[top : top + height, left : left + width]
    else:
        noise = _NOISE[rows[:, None], columns]
    return cv2.scaleAdd(noise, sigma, image.astype(np.float32)).clip(0, 255).astype(np.uint8)


def vignette(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return how the image darkens towards its corners, ``(H, W, 3)`` float32 in [0.3, 1]."""
    height, width = size
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    shade = 1 - np.float32(random.uniform(0.1, 0.35)) * (x * x + y * y)
    return cv2.merge([shade, shade, shade])


def fog(random: np.random.Generator, images: list[Image]) -> list[Image]:
    """Add drifting fog to both images."""
    height, width = images[0].shape[:2]
    drift = int(random.integers(0, max(width // 8, 1)))
    noise = value_noise(random, 64, 2, 0.5)
    thickness = float(random.uniform(0.1, 0.5))
    veil = np.clip(
        thickness * (1 + 0.5 * cv2.resize(noise, (width + drift, height), interpolation=cv2.INTER_CUBIC)), 0, 0.8
    )
    color = np.full(3, random.uniform(150, 245), np.float32)
    foggy = []
    for image, part in zip(images, (veil[:, :width], veil[:, drift:]), strict=True):
        share = part[..., None].astype(np.float32)
        foggy.append((image * (1 - share) + color * share).astype(np.uint8))
    return foggy


def precipitation(random: np.random.Generator, images: list[Image]) -> list[Image]:
    """Draw rain, snow or dust over both images: streaks or specks, at different positions in each image."""
    height, width = images[0].shape[:2]
    count, thickness = int(random.integers(10, 150)), int(random.integers(1, 3))
    length = float(random.choice([0, 0.04, 0.12])) * height
    slant, brightness = random.normal(0, 0.2), float(random.uniform(120, 255))
    opacity = float(random.uniform(0.2, 0.7))
    result = []
    for image in images:
        mask = np.zeros((height, width), np.uint8)
        starts = random.uniform(0, 1, (count, 2)) * (width, height)
        ends = starts + random.uniform(0.5, 1.5, (count, 1)) * length * np.array([slant, 1.0])
        for start, end in zip(starts.astype(int).tolist(), ends.astype(int).tolist(), strict=True):
            cv2.line(mask, start, end, 255, thickness, cv2.LINE_AA)
        share = cv2.GaussianBlur(mask, (0, 0), 0.7)[..., None].astype(np.float32) * (opacity / 255)
        result.append((image * (1 - share) + brightness * share).astype(np.uint8))
    return result


def compress(image: Image, quality: int) -> Image:
    """Return ``image`` after JPEG compression of ``quality`` percent."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
