# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Encode RGB pictures, and write them to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file


def opencv_path(path: Path) -> str:
    """Return a path for OpenCV, as bytes: OpenCV crashes on a string that is not valid UTF-8."""
    return cast("str", os.fsencode(path))


def encode_picture(picture: NDArray[np.uint8], suffix: str, jpeg_quality: int = 95) -> bytes:
    """Return a picture as the content of a file.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB, or ``(H, W, 4)`` RGBA.
        suffix: of the file, such as ``.png`` or ``.jpg``.
        jpeg_quality: 0 to 100; other formats ignore it.

    Raises:
        ValueError: OpenCV cannot encode the picture.
    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    is_jpeg = suffix in (".jpg", ".jpeg")
    is_encoded, content = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if is_jpeg else [])
    if not is_encoded:
        raise ValueError(f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels cannot be encoded as {suffix}")
    return content.tobytes()


def write_picture(path: Path, picture: NDArray[np.uint8], jpeg_quality: int = 95) -> None:
    """Replace a file by a picture, see `encode_picture`.

    Raises:
        OSError: the disk is full or gone.
        ValueError: as for `encode_picture`.
    """
    replace_file(path, encode_picture(picture, path.suffix, jpeg_quality))
