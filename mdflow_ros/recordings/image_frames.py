# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the camera frames of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.image_decoding import decode_compressed_image
from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.core.picture_files import opencv_path
from mdflow_ros.recordings.bag_parts import natural_order
from mdflow_ros.recordings.file_kinds import check_content, content_kind, folders_below, is_hidden
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame
from mdflow_ros.recordings.image_counters import unusual_numbers
from mdflow_ros.recordings.image_series import split_series, warn_of_non_camera_images
from mdflow_ros.recordings.image_stamps import stamp_images, time_files

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".jp2")


class ImageFrames:
    """The images of a folder, upright, in the order of their stamps or names; camera by camera if several share it.

    See `stamp_images` for where the stamps come from, and `split_series` for cameras that share a folder.

    Args:
        folder: the folder of the images, or one above it if only one below holds images (EuRoC, TUM).
        warnings: receives a line for unusual stamps and for files with several pages.
        intensity_range: for images with more than 8 bits, see `IntensityStretch`.

    Attributes:
        files: the images, and the files with their times.

    Raises:
        FrameSourceError: the folder does not exist, holds no images, or several folders below it do.
    """

    def __init__(self, folder: Path, warnings: list[str], intensity_range: IntensityRange = "auto") -> None:
        if not folder.is_dir():
            raise FrameSourceError(f"{folder} is not a folder; to read images, name the folder that holds them")
        images = image_files(folder) or image_files(_only_folder_below(folder))
        first = next((path for path in images if content_kind(path) not in ("link", "empty")), images[0])
        check_content(first)
        self._stretch = IntensityStretch(intensity_range)
        in_order = list(unusual_numbers(images))
        series = {"": in_order} if in_order else split_series(images, warnings)
        self._stamps = {pattern: stamp_images(files, warnings) for pattern, files in series.items()}
        self.files = [file for stamps in self._stamps.values() for file in stamps] + time_files(images[0].parent)
        _warn_of_pages(first, warnings)
        warn_of_non_camera_images(images[0].parent.name, f"{images[0].parent}: the folder", warnings)

    def __iter__(self) -> Iterator[tuple[str, RecordedFrame]]:
        """Yield the name pattern of the camera, empty if there is only one, and the frame."""
        for pattern, stamps in self._stamps.items():
            for path, stamp in stamps.items():
                yield pattern, RecordedFrame(stamp, "", partial(_read, path, self._stretch), self._stretch)


def _warn_of_pages(image: Path, warnings: list[str]) -> None:
    """Warn if an image is a stack of pictures."""
    pages = cv2.imcount(opencv_path(image)) if image.suffix.lower() in (".tif", ".tiff") else 1
    if pages > 1:
        warnings.append(f"{image} holds {pages} pages; only the first of each file is read: make an image of each page")


def image_files(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in the natural order of their names."""
    shown = (path for path in folder.iterdir() if not is_hidden(path.relative_to(folder)))
    return sorted(
        (path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()), key=natural_order
    )


def folders_with_images(folder: Path) -> list[Path]:
    """Return the folders below ``folder`` that hold images; depth images beside a camera's are left out."""
    found = sorted((path for path in folders_below(folder) if image_files(path)), key=natural_order)
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


def _read(path: Path, stretch: IntensityStretch) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        linked = " (a link: `git annex get` or `dvc pull` may fetch the file)" if path.is_symlink() else ""
        raise ValueError(f"{path.name} cannot be read: {error.strerror}{linked}") from error
    return decode_compressed_image(data, stretch=stretch, upright=True)
