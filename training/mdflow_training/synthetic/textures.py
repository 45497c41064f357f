# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Textures of synthetic scenes: photographs, cut-outs and procedural patterns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.picture_files import opencv_path
from mdflow_training.flow_files import Image

PYRAMID_LEVELS = 6
MIN_LEVEL_SIDE = 16
PROCEDURAL_SIDE = 512


@dataclass(frozen=True)
class TextureLibrary:
    """Pictures held in memory at several sizes, so that a texture is never sampled far from its own resolution.

    Attributes:
        photographs: for each photograph its pyramid, largest first; each ``(H, W, 3)`` uint8 BGR.
        cutouts: objects, ``(H, W, 4)`` uint8 BGRA.
    """

    photographs: list[list[Image]]
    cutouts: list[Image]

    def split(self, part: int = 10) -> tuple[TextureLibrary, TextureLibrary]:
        """Return the textures to train on, and every ``part``-th, which is held out for validation."""
        train, held_out = (
            TextureLibrary(
                [picture for number, picture in enumerate(self.photographs) if (number % part == 0) == held],
                [cutout for number, cutout in enumerate(self.cutouts) if (number % part == 0) == held],
            )
            for held in (False, True)
        )
        return train, held_out


def pyramid(image: Image) -> list[Image]:
    """Return ``image`` and its halvings, as long as the shorter side keeps `MIN_LEVEL_SIDE` pixels."""
    levels = [image]
    while len(levels) < PYRAMID_LEVELS and min(levels[-1].shape[:2]) >= 2 * MIN_LEVEL_SIDE:
        half = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return levels


def value_noise(
    random: np.random.Generator, side: int, coarsest: int = 2, persistence: float = 0.6
) -> NDArray[np.float32]:
    """Return smooth noise of several octaves, ``(side, side)`` float32 of zero mean and unit deviation."""
    total = np.zeros((side, side), np.float32)
    cells, weight = coarsest, 1.0
    while cells <= side:
        grid = random.standard_normal((cells + 3, cells + 3), dtype=np.float32)
        total += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 2, weight * persistence
    return (total - total.mean()) / (total.std() + 1e-6)


def procedural(random: np.random.Generator, side: int = PROCEDURAL_SIDE) -> Image:
    """Return a procedural texture: clouds, tiles or stripes in two colors; ``(side, side, 3)`` uint8."""
    kind = random.choice(["clouds", "tiles", "stripes"])
    pattern = value_noise(random, side, int(random.integers(2, 9)), float(random.uniform(0.45, 0.9)))
    if kind != "clouds":
        angle, period = random.uniform(0, np.pi), random.uniform(8, side / 6)
        y, x = np.mgrid[:side, :side].astype(np.float32)
        along = np.cos(angle) * x + np.sin(angle) * y
        across = np.cos(angle) * y - np.sin(angle) * x
        regular = np.sin(along * 2 * np.pi / period)
        if kind == "tiles":
            regular = regular * np.sin(across * 2 * np.pi / period)
        pattern = 1.5 * np.tanh(4 * regular) + float(random.uniform(0.1, 0.6)) * pattern
    share = 1 / (1 + np.exp(-float(random.uniform(0.7, 2.0)) * pattern))[..., None]
    first, second = random.uniform(0, 255, (2, 3)).astype(np.float32)
    detail = value_noise(random, side, side // 4)[..., None] * float(random.uniform(0, 8))
    return np.clip(first * share + second * (1 - share) + detail, 0, 255).astype(np.uint8)


def procedural_library(seed: int = 0, count: int = 12, side: int = PROCEDURAL_SIDE) -> TextureLibrary:
    """Return a library that needs no download: ``count`` procedural textures and no cut-outs."""
    random = np.random.default_rng([seed, 0x7E87])
    return TextureLibrary([pyramid(procedural(random, side)) for _ in range(count)], [])


def load_library(folder: Path, seed: int = 0, procedural_count: int = 12) -> TextureLibrary:
    """Read ``folder/photographs`` and ``folder/cutouts`` and add a few procedural textures.

    Raises:
        FileNotFoundError: there are no photographs.
        ValueError: a file cannot be read as a picture.
    """
    photographs: list[list[Image]] = []
    cutouts: list[Image] = []
    for file in sorted((folder / "photographs").glob("*")):
        photographs.append(pyramid(_read(file, cv2.IMREAD_COLOR)))
    for file in sorted((folder / "cutouts").glob("*")):
        cutouts.append(_fill_transparent(_read(file, cv2.IMREAD_UNCHANGED)))
    if not photographs:
        raise FileNotFoundError(f"no pictures in {folder / 'photographs'}; run training/fetch_textures.py")
    return TextureLibrary(photographs + procedural_library(seed, procedural_count).photographs, cutouts)


def _read(file: Path, flags: int) -> Image:
    image = cv2.imread(opencv_path(file), flags)
    if image is None:
        raise ValueError(f"{file} is not a readable picture; delete it and run training/fetch_textures.py again")
    return np.asarray(image, np.uint8)


def _fill_transparent(cutout: Image) -> Image:
    """Fill the transparent background with the object's mean color, to keep other colors out of its border."""
    opaque = cutout[..., 3] > 127
    cutout[cutout[..., 3] == 0, :3] = cutout[opaque][:, :3].mean(axis=0).astype(np.uint8)
    return cutout
