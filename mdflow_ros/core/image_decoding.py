# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Raw image buffers, as sensor_msgs/Image carries them, to RGB arrays.

Encoding names are those of ``sensor_msgs/image_encodings.hpp``. Rows may be padded (``step``), 16-bit samples may be
of either byte order. cv_bridge does the rest where it is installed; see ``mdflow_ros/node/image_messages.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


class UnsupportedEncoding(ValueError):
    """The encoding is none that this package decodes."""


class CorruptImage(ValueError):
    """The buffer does not hold the image that its header promises."""


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory, and OpenCV's conversion to RGB (``None``: it is RGB already)."""

    channels: int
    conversion: int | None
    bytes_per_channel: int = 1
    even_width: bool = False
    even_height: bool = False


def _bayer(conversion: int, bytes_per_channel: int) -> _Layout:
    return _Layout(1, conversion, bytes_per_channel, even_width=True, even_height=True)


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two:
# ROS' RGGB is OpenCV's BG.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

_LAYOUTS = {
    "rgb8": _Layout(3, None),
    "bgr8": _Layout(3, cv2.COLOR_BGR2RGB),
    "8UC3": _Layout(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, cv2.COLOR_BGRA2RGB),
    "8UC4": _Layout(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout(1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Layout(1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Layout(3, None, 2),
    "bgr16": _Layout(3, cv2.COLOR_BGR2RGB, 2),
    "rgba16": _Layout(4, cv2.COLOR_RGBA2RGB, 2),
    "bgra16": _Layout(4, cv2.COLOR_BGRA2RGB, 2),
    "mono16": _Layout(1, cv2.COLOR_GRAY2RGB, 2),
    "16UC1": _Layout(1, cv2.COLOR_GRAY2RGB, 2),
    "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY, even_width=True),
    "uyvy": _Layout(2, cv2.COLOR_YUV2RGB_UYVY, even_width=True),
    "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2, even_width=True),
    "yuyv": _Layout(2, cv2.COLOR_YUV2RGB_YUY2, even_width=True),
    **{f"bayer_{name}8": _bayer(code, 1) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": _bayer(code, 2) for name, code in _BAYER.items()},
}

SUPPORTED_ENCODINGS = tuple(_LAYOUTS)


def decode_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Decode a raw image buffer.

    16-bit samples are divided by 256, as their full range is 0 to 65535 by definition.

    Args:
        encoding: a name of `SUPPORTED_ENCODINGS`.
        height: rows.
        width: pixels a row.
        step: bytes a row, padding included.
        is_bigendian: byte order of 16-bit samples.
        data: any buffer of at least ``step * height`` bytes.

    Returns:
        ``(height, width, 3)`` uint8, RGB. It may share memory with ``data``.

    Raises:
        UnsupportedEncoding: the encoding is unknown here; the text lists those that are known.
        CorruptImage: a side is zero, ``step`` is too small, ``data`` is too short, or a Bayer or YUV 4:2:2 image has
            an odd side.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise UnsupportedEncoding(
            f"image encoding '{encoding}' is not supported; supported are {', '.join(SUPPORTED_ENCODINGS)}"
        )
    samples = _samples(layout, encoding, height, width, step, is_bigendian, data)
    if layout.conversion is None:
        return samples
    return np.asarray(cv2.cvtColor(samples, layout.conversion), np.uint8)


def _samples(
    layout: _Layout,
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return the samples as ``(height, width, channels)`` uint8, after checking that they are all there."""
    row_bytes = width * layout.channels * layout.bytes_per_channel
    if height <= 0 or width <= 0:
        raise CorruptImage(f"image of {width}x{height} pixels")
    if step < row_bytes:
        raise CorruptImage(f"step of {step} bytes, but a row of {width} {encoding} pixels takes {row_bytes}")
    if (layout.even_width and width % 2) or (layout.even_height and height % 2):
        raise CorruptImage(f"a {encoding} image needs even sides, this one is {width}x{height}")
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size < step * height:
        raise CorruptImage(f"{flat.size} bytes of data, but {height} rows with a step of {step} take {step * height}")
    rows = np.lib.stride_tricks.as_strided(flat, (height, row_bytes), (step, 1), writeable=False)
    if layout.bytes_per_channel == 2:
        rows = rows[:, 0 if is_bigendian else 1 :: 2]
    return np.ascontiguousarray(rows).reshape(height, width, layout.channels)
