# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Cache of decoded frames on disk, with a size limit: a recording is decoded once and used many times."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.picture_files import encode_picture, opencv_path
from mdflow_ros.recordings.frame import FrameSourceError

BURST = 16
"""Frames are deleted in bursts of this many, so the remaining frames have neighbors and still cover the whole drive."""

SUFFIX = ".bmp"
THINNING = "thinning.txt"
"""File with the number of times that the cache was thinned out."""

MAX_THINNING = 20
"""At 2**20, only one burst in a million is kept; the limit is then smaller than a single burst."""


class FrameCache:
    """Images by their number in the recording, stored as BMP.

    Every viewer can open BMP, and 640x480 pixels take 0.2 ms to write or read. PNG is half as large, but takes 20 ms to
    write, and 8 ms to read each time a frame is trained on.

    Whenever the images exceed the limit, every second burst of frames is deleted. The remaining frames are thus spread
    evenly over a recording of any length.

    Args:
        folder: folder of the images; it may already contain some.
        limit: maximum size on disk, in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit, self._thinning = folder, limit, read_thinning(folder)
        self._sizes = {int(path.stem): path.stat().st_size for path in folder.glob(f"[0-9]*{SUFFIX}")}
        self._bytes = sum(self._sizes.values())
        self._delete_surplus()  # a killed run may have left some

    def add(self, number: int, image: NDArray[np.uint8]) -> None:
        """Store an image ``(H, W, 3)`` uint8 RGB, unless its burst is thinned out.

        Raises:
            FrameSourceError: a single burst exceeds the limit.
        """
        if thinned_out(np.array(number), self._thinning):
            return
        path = image_path(self._folder, number)
        encoded = encode_picture(image, SUFFIX)
        replace_file(path, encoded, durable=False)
        self._bytes += len(encoded) - self._sizes.get(number, 0)
        self._sizes[number] = len(encoded)
        while self._bytes > self._limit:
            self._thin_out()

    def _thin_out(self) -> None:
        self._thinning += 1
        if self._thinning > MAX_THINNING:
            raise FrameSourceError(
                f"the frame cache is limited to {self._limit / 1e9:.3f} GB, which is too little for "
                f"{len(self._sizes)} frames; raise cache_gigabytes or lower longest_side"
            )
        # Written before the first deletion, because a resumed run must not expect deleted frames.
        replace_file(self._folder / THINNING, str(self._thinning).encode())
        self._delete_surplus()

    def _delete_surplus(self) -> None:
        for number in [number for number in self._sizes if thinned_out(np.array(number), self._thinning)]:
            image_path(self._folder, number).unlink(missing_ok=True)
            self._bytes -= self._sizes.pop(number)


def read_thinning(folder: Path) -> int:
    """Return how often the cache was thinned out; every ``2**thinning``-th burst of frames remains."""
    path = folder / THINNING
    return int(path.read_text()) if path.exists() else 0


def thinned_out(numbers: NDArray[np.int64], thinning: int) -> NDArray[np.bool_]:
    """Return which frames belong to dropped bursts; 1 burst in ``2**thinning`` is kept."""
    return np.asarray(numbers // BURST % 2**thinning != 0)


def image_path(folder: Path, number: int) -> Path:
    """Return the path of the frame with this number."""
    return folder / f"{number:08d}{SUFFIX}"


def read_image(folder: Path, number: int) -> NDArray[np.uint8]:
    """Return a cached frame, ``(H, W, 3)`` uint8 RGB.

    Raises:
        FrameSourceError: the file is missing or damaged.
    """
    path = image_path(folder, number)
    image = cv2.imread(opencv_path(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FrameSourceError(f"{path} is missing or damaged; delete {folder.parent} to decode the frames again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
