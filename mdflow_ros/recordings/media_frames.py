# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Camera frames of a video file or of a folder of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.image_decoding import decode_compressed_image
from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.recordings.bag_parts import natural_order
from mdflow_ros.recordings.file_kinds import check_content, is_hidden
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

ASSUMED_INTERVAL = 33_333_333
"""Interval in ns between images whose names are not time stamps."""

STAMP_UNITS = {19: 1, 16: 1_000, 13: 1_000_000}
"""Names of this many digits are time stamps; the factor makes them ns."""

_NAME = re.compile(r"(?:.*?[^\d])?(?:(\d{9,10})[._-](\d{1,9})|(\d{19}|\d{16}|\d{13}))(?:[^\d].*)?", re.DOTALL)
_DECIMAL = re.compile(r"(\d+)\.(\d{2,})")


class VideoFrames:
    """The frames of a video file, stamped with their own time in the file, whatever its frame rate does.

    Raises:
        FrameSourceError: the file does not exist, is a Git LFS pointer, or OpenCV cannot decode it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise FrameSourceError(f"{path} does not exist")
        check_content(path)
        if not cv2.VideoCapture(str(path)).grab():
            raise FrameSourceError(f"{path} holds no video that OpenCV can decode; convert it with ffmpeg")

    def __iter__(self) -> Iterator[RecordedFrame]:
        video = cv2.VideoCapture(str(self._path))
        rate = video.get(cv2.CAP_PROP_FPS)
        interval = 1e9 / rate if 0 < rate <= 1000 else float(ASSUMED_INTERVAL)
        stretch, stamp = IntensityStretch(), -1
        while video.grab():
            in_file = round(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            # Some containers hold no times: then the frame rate counts.
            stamp = in_file if in_file > stamp else stamp + round(interval)
            yield RecordedFrame(stamp, "", partial(_retrieve, video), stretch)


def _retrieve(video: cv2.VideoCapture) -> NDArray[np.uint8]:
    ok, image = video.retrieve()
    if not ok:
        raise ValueError("corrupt video frame")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class ImageFrames:
    """The images of a folder in the order of their stamps or names.

    Names with a time stamp (19 digits: ns, 16: us, 13: ms, ``sec.nsec``, ``sec_nsec``, or seconds with a decimal point)
    give the stamps. Where most names have one, images without are left out; otherwise all images follow one another at
    30 Hz.

    Args:
        folder: the folder; of a data set such as EuRoC's or TUM's also one above it, if only one below holds images.
        warnings: gets a line for the images that are left out.
        intensity_range: for images of more than 8 bits, see `IntensityStretch`.

    Raises:
        FrameSourceError: the folder does not exist, holds no images, or several folders below it do.
    """

    def __init__(self, folder: Path, warnings: list[str], intensity_range: IntensityRange = "auto") -> None:
        if not folder.is_dir():
            raise FrameSourceError(f"{folder} is not a folder")
        images = image_files(folder) or image_files(_only_folder_below(folder))
        check_content(images[0])
        self._stretch = IntensityStretch(intensity_range)
        stamps = {path: stamp for path in images if (stamp := stamp_in_name(path.stem)) is not None}
        self._stamps = dict(zip(images, range(0, len(images) * ASSUMED_INTERVAL, ASSUMED_INTERVAL), strict=True))
        if len(stamps) > len(images) / 2:
            left_out = [path.name for path in images if path not in stamps]
            if left_out:
                warnings.append(
                    f"{folder}: {len(left_out)} images are left out, as their names hold no time stamp: "
                    f"{', '.join(left_out[:3])}"
                )
            self._stamps = dict(sorted(stamps.items(), key=lambda item: item[1]))
        self.files = list(self._stamps)

    def __iter__(self) -> Iterator[RecordedFrame]:
        for path, stamp in self._stamps.items():
            yield RecordedFrame(stamp, "", partial(_read, path, self._stretch), self._stretch)


def image_files(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in the natural order of their names."""
    images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path))
    return sorted(images, key=natural_order)


def folders_with_images(folder: Path) -> list[Path]:
    """Return the folders below ``folder`` that hold images; depth images beside a camera's are left out."""
    below = (path for path in folder.rglob("*") if path.is_dir() and not is_hidden(path.relative_to(folder)))
    found = sorted((path for path in below if image_files(path)), key=natural_order)
    cameras = [path for path in found if not path.name.lower().startswith("depth")]
    return cameras or found


def _only_folder_below(folder: Path) -> Path:
    below = folders_with_images(folder)
    if not below:
        raise FrameSourceError(f"{folder} holds no images (expected {', '.join(IMAGE_SUFFIXES)})")
    if len(below) > 1:
        names = "\n".join(f"  {path}" for path in below[:10])
        raise FrameSourceError(f"{folder} holds several folders of images; name one of them:\n{names}")
    return below[0]


def stamp_in_name(name: str) -> int | None:
    """Return the time stamp that a file's name (without ending) holds, in ns, or ``None``."""
    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return int(decimal[1]) * 10**9 + int(decimal[2].ljust(9, "0")[:9])
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    seconds, fraction, digits = match.groups()
    if digits:
        return int(digits) * STAMP_UNITS[len(digits)]
    # After a point digits are decimals, behind another character they are nanoseconds.
    decimals = name[match.end(1)] == "."
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0") if decimals else fraction)


def _read(path: Path, stretch: IntensityStretch) -> NDArray[np.uint8]:
    return decode_compressed_image(path.read_bytes(), stretch=stretch)
