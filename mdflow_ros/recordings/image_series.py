# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that share one folder, such as ``0001_left.png`` beside ``0001_right.png``."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

NUMBER = re.compile(r"\d+")

_Series = dict[tuple[str, ...], Path]
"""The images of one camera by the numbers in their names."""


def split_series(images: list[Path], warnings: list[str]) -> dict[str, list[Path]]:
    """Return the images of each camera by the pattern of their names, ``#`` for a number.

    Cameras share a folder where names differ beside their numbers and the numbers are the same. Otherwise all images
    are one series. Depth images beside a camera's are left out.

    Args:
        images: in the natural order of their names, all in one folder; at least one.
        warnings: gets a line if there are several series.
    """
    by_pattern: dict[str, _Series] = defaultdict(dict)
    for path in images:
        by_pattern[NUMBER.sub("#", path.name)][tuple(NUMBER.findall(path.name))] = path
    largest = max(by_pattern.values(), key=len)
    shared = [
        pattern for pattern, series in by_pattern.items() if 2 * len(series.keys() & largest.keys()) > len(largest)
    ]
    if len(shared) < 2 or len(largest) < 2:
        return {"": images}
    cameras = [pattern for pattern in shared if "depth" not in pattern.lower()] or shared
    listed = ", ".join(f"{pattern} ({len(by_pattern[pattern])})" for pattern in cameras)
    left_out = len(images) - sum(len(by_pattern[pattern]) for pattern in cameras)
    warnings.append(
        f"{images[0].parent}: the names show images of {len(cameras)} cameras, each read on its own: {listed}"
        if len(cameras) > 1
        else f"{images[0].parent}: only the images {listed} are read"
    )
    if left_out:
        warnings.append(f"{images[0].parent}: {left_out} images with other names are left out")
    return {pattern: list(by_pattern[pattern].values()) for pattern in cameras}
