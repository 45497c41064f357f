# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Tell the cameras apart that share one folder, such as ``0001_left.png`` and ``0001_right.png``."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

NUMBER = re.compile(r"\d+")

_LONG_NUMBER = re.compile(r"\d{3,}")
_NOT_OF_CAMERA = re.compile(r"\d{3,}|(?<!cam)(?<!cam[_-])(?<!camera)(?<!camera[_-])(?<!\d)\d+", re.IGNORECASE)
_CAMERA = re.compile(r"(?<=\d{3}[_-])\d(?=\.|$)|(?<=image[_-])\d(?=[_-]\d)")
"""The number of the camera in names such as ``image0001_0.png`` and ``image_0_123.png``, if all cameras have the same
images."""
_NOT_CAMERA = re.compile(rf"(?!{_CAMERA.pattern})\d+")
_TIME = re.compile(r"(?<!\d)(?:\d{19}|\d{16}|\d{13})(?!\d)")

_NON_CAMERA = re.compile(
    r"depth|distance_to|(?<![a-z])(disp|disparity|masks?|labels?|labelids|seg|segmentation|semantic|instance|flow"
    r"|motion_vectors?|confidence|normals?|thumb|thumbnail)(?![a-z])"
)
"""Words in the names of images, folders and topics that do not come from a camera, such as depth and masks."""

_DEPTH_CAMERA = re.compile(r"depth(ai|_?(cam(era)?|sensor))")
"""Names of depth cameras, which also take other images."""

_COLOR_STREAM = re.compile(r"/(rgb|colou?r|gr[ae]y|mono|infra\d?|ir)(?=/)")
"""Parts of topics that name the images of a camera, which may be below the name of a depth sensor."""

_Series = dict[tuple[str, ...], Path]
"""The images of one camera by the numbers in their names."""


def non_camera_word(name: str) -> str:
    """Return the word in a name, such as ``depth``, that no camera image has; empty if there is none."""
    stream = _COLOR_STREAM.split(name.lower())[-1]
    found = _NON_CAMERA.search(_DEPTH_CAMERA.sub("", stream))
    return found[0] if found else ""


def warn_of_non_camera_images(name: str, shown: str, warnings: list[str]) -> None:
    """Warn if the ``name`` of a topic or folder says that it holds no camera images; ``shown`` says where it is."""
    word = non_camera_word(name)
    if word:
        warnings.append(
            f"{shown} may not hold camera images, because its name contains '{word}'; flow is learned from camera "
            "images only"
        )


def split_series(images: list[Path], warnings: list[str]) -> dict[str, list[Path]]:
    """Return the images of each camera by the pattern of their names, with ``#`` for a number.

    Names with different text belong to different cameras if their numbers are equal or interleave. The number of a
    camera, as in ``0001_cam0.png`` and ``0001_0.png``, counts as text. Otherwise all images are one series. Images
    computed from camera images, such as depth, masks or thumbnails, are left out. File suffixes count only if nothing
    else tells the cameras apart.

    Args:
        images: in the natural order of their names, all in one folder; at least one.
        warnings: receives a line if there are several series.
    """
    by_pattern = _by_pattern(images, [path.name for path in images])
    if len({path.suffix for path in images}) > 1:
        of_stems = _by_pattern(images, [path.stem for path in images])
        by_pattern = of_stems if sum(map(len, of_stems.values())) == len(images) else by_pattern
    largest = max(by_pattern.values(), key=len)
    shared = [
        pattern for pattern, series in by_pattern.items() if 2 * len(series.keys() & largest.keys()) > len(largest)
    ]
    if len(shared) < 2:
        shared = _taken_in_turns(by_pattern)
    if len(shared) < 2 or len(largest) < 2:
        return {"": images}
    cameras = [pattern for pattern in shared if not non_camera_word(pattern)] or shared
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


def _by_pattern(images: list[Path], names: list[str]) -> dict[str, _Series]:
    by_pattern: dict[str, _Series] = defaultdict(dict)
    number = _numbers_of_images(names)
    for path, name in zip(images, names, strict=True):
        by_pattern[number.sub("#", name)][tuple(number.findall(name))] = path
    return by_pattern


def _numbers_of_images(names: list[str]) -> re.Pattern[str]:
    """Return the pattern of the numbers that count images; other numbers in the names denote cameras.

    The number of a camera has one or two digits and follows ``cam``, or accompanies a time that several images share,
    or is that of `_CAMERA`. KITTI's ``000000_10.png`` and ``000000_11.png`` belong to one camera.
    """
    if _all_cameras_have_the_same_images(names):
        return _NOT_CAMERA
    times = [tuple(_TIME.findall(name)) for name in names]
    taken = len(set(times)) if all(times) else 0

    def series(number: re.Pattern[str]) -> int:
        return len({number.sub("#", name) for name in names})

    # If most series had only one or two images, the numbers would count images, not cameras.
    if series(_LONG_NUMBER) <= taken <= len(names) // 2:
        return _LONG_NUMBER
    return _NOT_OF_CAMERA if series(_NOT_OF_CAMERA) <= len(names) // 2 else NUMBER


def _all_cameras_have_the_same_images(names: list[str]) -> bool:
    """Tell whether every name has a number of a camera, and, but for a few, the same images occur with each."""
    images: dict[str, set[str]] = defaultdict(set)
    for name in names:
        camera = _CAMERA.search(name)
        if camera is None:
            return False
        images[camera[0]].add(name[: camera.start()] + name[camera.end() :])
    shared = set.intersection(*images.values())
    return len(images) > 1 and 2 * len(shared) > max(map(len, images.values()))


def _taken_in_turns(by_pattern: dict[str, _Series]) -> list[str]:
    """Return the patterns of unsynchronized cameras, which have similar numbers of images with interleaved numbers."""
    most = max(len(series) for series in by_pattern.values())
    patterns = [pattern for pattern, series in by_pattern.items() if 2 * len(series) > most]
    numbered = [(tuple(map(int, numbers)), pattern) for pattern in patterns for numbers in by_pattern[pattern]]
    order = [pattern for _, pattern in sorted(numbered)]
    turns = sum(before != after for before, after in pairwise(order))
    return patterns if 2 * turns > len(order) else []
