# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decode image buffers, as sensor_msgs Image and CompressedImage carry them, into RGB arrays.

Encoding names are those of ``sensor_msgs/image_encodings.hpp`` and those that the drivers of Raspberry Pi, Jetson and
OAK cameras use. Rows may be padded (``step``), samples of 16 bits may be of either byte order, sides may be odd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.image_headers import TIFF_STARTS, pnm_maximum, read_compressed_size, without_tiff_orientation
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.core.printable import printable

MAX_PIXELS = 64_000_000
"""Default limit of the number of pixels; larger images are refused."""

PICTURE_FORMATS = "JPEG, PNG, WebP, TIFF, BMP, PNM or JP2"
"""What CompressedImages and files may hold."""

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
NOT_PADDING = b"\x5a\xa5\x33\xcc\x0f\x71" * 4
"""Bytes that a decoder reads as image data if a part of the picture is missing."""
JPEG_FILLING = 128
"""Value that libjpeg gives all channels of pixels without data."""

MAX_ALIGNMENT = 4096
"""Rows may begin at multiples of powers of two up to this many bytes, a page of memory."""

MAX_NAME_LENGTH = 60
"""Longest name of an encoding that an error shows in full, in characters."""

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
Samples = NDArray[Any]


class UnsupportedEncoding(ValueError):
    """The encoding is not one of those that are decoded here."""


class CorruptImage(ValueError):
    """The buffer does not hold the image that its header describes."""


@dataclass(frozen=True)
class _Layout:
    """Memory layout of an encoding.

    Attributes:
        channels: samples of a pixel.
        conversion: OpenCV's conversion to RGB; ``None`` where it is RGB already.
        dtype: of a sample, in the machine's byte order.
        even_sides: whether OpenCV needs even sides, as for Bayer patterns and packed YUV 4:2:2.
    """

    channels: int
    conversion: int | None
    dtype: type[np.generic] = np.uint8
    even_sides: bool = False


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
    "rgb16": _Layout(3, None, np.uint16),
    "bgr16": _Layout(3, cv2.COLOR_BGR2RGB, np.uint16),
    "16UC3": _Layout(3, cv2.COLOR_BGR2RGB, np.uint16),
    "rgba16": _Layout(4, cv2.COLOR_RGBA2RGB, np.uint16),
    "bgra16": _Layout(4, cv2.COLOR_BGRA2RGB, np.uint16),
    "mono16": _Layout(1, cv2.COLOR_GRAY2RGB, np.uint16),
    "16UC1": _Layout(1, cv2.COLOR_GRAY2RGB, np.uint16),
    "16SC1": _Layout(1, cv2.COLOR_GRAY2RGB, np.int16),
    "32FC1": _Layout(1, cv2.COLOR_GRAY2RGB, np.float32),
    "32FC3": _Layout(3, cv2.COLOR_BGR2RGB, np.float32),
    "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY, even_sides=True),
    "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2, even_sides=True),
    "yvyu": _Layout(2, cv2.COLOR_YUV2RGB_YVYU, even_sides=True),
    **{f"bayer_{name}8": _Layout(1, code, np.uint8, True) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": _Layout(1, code, np.uint16, True) for name, code in _BAYER.items()},
}

_PLANAR = ("nv12", "nv21", "nv16", "nv61", "nv24", "nv42", "i420", "yv12")
"""YUV with a luma plane followed by chroma planes; names as in V4L2 and libcamera."""

_ALIASES = {
    "uyvy": "yuv422",
    "yuv422_uyvy": "yuv422",
    "yuyv": "yuv422_yuy2",
    "yuy2": "yuv422_yuy2",
    "yuyv422": "yuv422_yuy2",
    "yuv420": "i420",
    "yuv420p": "i420",
    "yu12": "i420",
    "iyuv": "i420",
    "yvu420": "yv12",
    "gray": "mono8",
    "gray8": "mono8",
    "grey": "mono8",
    "y8": "mono8",
    "gray16": "mono16",
    "y16": "mono16",
    # Unpacked samples in 16 bits, whose range `IntensityStretch` finds.
    **{f"mono{bits}": "mono16" for bits in (10, 12, 14)},
    **{f"bayer_{name}{bits}": f"bayer_{name}16" for name in _BAYER for bits in (10, 12, 14)},
}

SUPPORTED_ENCODINGS = (*_LAYOUTS, *_PLANAR, *_ALIASES)

_LOWER = {name.lower(): name for name in (*_LAYOUTS, *_PLANAR)}

VIDEO_FORMATS = ("h264", "h265", "hevc", "av1", "vp8", "vp9", "x264", "x265", "theora")
"""Names of video codecs in the format of a CompressedImage, as depthai and Jetson drivers write them."""


def decode_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    is_bigendian: bool,
    data: Buffer,
    stretch: IntensityStretch | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode a raw image buffer.

    Args:
        encoding: a name of `SUPPORTED_ENCODINGS`, in upper or lower case.
        height: rows.
        width: pixels per row.
        step: bytes per row, including padding. Some drivers leave it at 0 or count pixels; a step that is too small is
            ignored if the data is exactly as long as the rows without padding.
        is_bigendian: byte order of samples with more than 8 bits.
        data: at least ``step * (height - 1)`` bytes and a row without padding; the chroma planes of planar YUV follow.
        stretch: converts samples with more than 8 bits; ``None`` uses the whole range of unsigned 16-bit samples, and a
            range found in this image for signed and float samples.
        max_pixels: larger images are refused.

    Returns:
        ``(height, width, 3)`` uint8, RGB. It may share memory with ``data``.

    Raises:
        UnsupportedEncoding: the encoding is unknown here; the text lists those that are known.
        CorruptImage: a side is zero, the image is too large, ``step`` is too small or that of pixels of another size,
            or ``data`` is too short.
    """
    name = _known_name(encoding)
    if height <= 0 or width <= 0:
        raise CorruptImage(f"image of {width}x{height} pixels")
    check_pixels(width, height, max_pixels)
    flat = np.frombuffer(data, dtype=np.uint8)
    if name in _PLANAR:
        return _decode_planar(name, height, width, step, flat)
    layout = _LAYOUTS[name]
    samples = _samples(layout, encoding, height, width, step, is_bigendian, flat)
    return _to_rgb(samples, layout, stretch)[:height, :width]


def decode_compressed_image(
    data: Buffer,
    image_format: str = "",
    stretch: IntensityStretch | None = None,
    max_pixels: int = MAX_PIXELS,
    upright: bool = False,
) -> NDArray[np.uint8]:
    """Decode a picture in one of the `PICTURE_FORMATS`; their size can be read before anything is decoded.

    Args:
        data: the file's bytes.
        image_format: ``format`` of a CompressedImage, which names formats that are not picture files.
        stretch: converts samples with more than 8 bits; ``None`` uses the whole range of unsigned 16-bit samples, and a
            range found in this image for signed and float samples.
        max_pixels: larger images are refused by their header, before anything is decoded.
        upright: turn the picture as its EXIF orientation says, as photo viewers do. Leave it off for a message, whose
            camera_info describes the pixels as they are stored.

    Returns:
        ``(H, W, 3)`` uint8, RGB.

    Raises:
        UnsupportedEncoding: a depth image, or a packet of a video stream.
        CorruptImage: the data is empty, truncated or not a picture, or the picture is too large.
    """
    encoded = np.frombuffer(data, np.uint8)
    _check_format(image_format)
    size = read_compressed_size(encoded.data)
    if size is not None:
        check_pixels(*size, max_pixels)
    try:
        image = None if size is None else _decode_picture(encoded, upright)
    except cv2.error as error:  # beyond OpenCV's own limits
        raise CorruptImage(f"OpenCV cannot decode {encoded.size} bytes of compressed image: {error.err}") from error
    if image is None:
        kind = f" of format '{printable(image_format, MAX_NAME_LENGTH)}'" if image_format else ""
        raise CorruptImage(
            f"{encoded.size} bytes of compressed image{kind} hold no picture that can be decoded: "
            f"{_describe(encoded[:64].tobytes())}"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    conversion = {1: _gray_conversion(image_format), 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels]
    return _to_rgb(image, _Layout(channels, conversion), stretch)


def _decode_picture(encoded: NDArray[np.uint8], upright: bool) -> Samples | None:
    """Return the decoded picture with white at the end of its type's range, or ``None``."""
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if upright else cv2.IMREAD_UNCHANGED
    if encoded[:2].tobytes() == JPEG_START:
        return _decode_jpeg(encoded, flags)
    if not upright and encoded[:4].tobytes() in TIFF_STARTS:
        encoded = np.frombuffer(without_tiff_orientation(encoded.tobytes()), np.uint8)
    image: Samples | None = cv2.imdecode(encoded, flags)
    if image is not None and image.dtype == np.int8:
        return image.view(np.uint8) ^ 0x80  # signed from -128
    maximum = pnm_maximum(encoded.data)
    if image is not None and maximum is not None and image.dtype == np.uint8 and 0 < maximum < 255:
        return cv2.convertScaleAbs(image, alpha=255 / maximum)
    return image


def _decode_jpeg(encoded: NDArray[np.uint8], flags: int) -> Samples | None:
    """Return the decoded JPEG, or ``None``; it may lack its end marker, as some USB cameras send them."""
    if JPEG_END in encoded[encoded.size // 2 :].tobytes():
        image = cv2.imdecode(encoded, flags)
        return None if image is None or _lacks_a_part(encoded, image, flags) else image
    # Padding after a complete picture is harmless, but a decoder reads the padding of a truncated one as picture.
    # Cameras pad with 255 or 0. A complete picture may end with the bytes 255, 0.
    data = encoded.tobytes()
    picture = data.rstrip(b"\xff\0")
    for part in (picture, picture + b"\xff\0") if data.startswith(b"\xff\0", len(picture)) else (picture,):
        image, same = (
            cv2.imdecode(np.frombuffer(part + more + JPEG_END, np.uint8), flags) for more in (b"", NOT_PADDING)
        )
        if image is not None and same is not None and np.array_equal(image, same):
            return image
    return None


def _lacks_a_part(encoded: NDArray[np.uint8], image: Samples, flags: int) -> bool:
    """Tell whether a part of a JPEG with an end marker was lost: then its last pixels are `JPEG_FILLING`.

    A complete picture may end with this gray as well, but more bytes before the end marker do not change it.
    """
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(4, -1)  # one is the last pixel, however it was turned
    if not (corners == JPEG_FILLING).all(axis=1).any():
        return False
    data = encoded.tobytes()
    end = data.rindex(JPEG_END)
    longer = cv2.imdecode(np.frombuffer(data[:end] + NOT_PADDING + data[end:], np.uint8), flags)
    return longer is None or not np.array_equal(image, longer)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise CorruptImage if an image of this size has more than ``max_pixels`` pixels."""
    if width * height > max_pixels:
        raise CorruptImage(
            f"the image has {width}x{height} pixels, the limit is {max_pixels / 1e6:g} million; raise the node's "
            "parameter max_megapixels, or make the images smaller for other tools"
        )


def _known_name(encoding: str) -> str:
    lower = encoding.lower()
    name = _LOWER.get(_ALIASES.get(lower, lower).lower())
    if name is None:
        raise UnsupportedEncoding(
            f"image encoding '{printable(encoding, MAX_NAME_LENGTH)}' is not supported; supported are "
            f"{', '.join(SUPPORTED_ENCODINGS)}"
        )
    return name


def _check_format(image_format: str) -> None:
    lower = image_format.lower()
    shown = printable(image_format, MAX_NAME_LENGTH)
    if "compresseddepth" in lower:
        raise UnsupportedEncoding(f"the format '{shown}' is a depth image; choose the topic of a camera image")
    if any(name in lower for name in VIDEO_FORMATS):
        raise UnsupportedEncoding(
            f"the format '{shown}' is a packet of a video stream, which only its decoder can read; let "
            "`ros2 run image_transport republish` or the camera's driver publish sensor_msgs/Image"
        )
    if "zstd" in lower:
        raise UnsupportedEncoding(f"the format '{shown}' is a zstd copy of a raw topic; choose the raw topic itself")


def _gray_conversion(image_format: str) -> int:
    """Return OpenCV's conversion of a picture with one channel to RGB.

    image_transport also compresses raw Bayer images as PNG. Their format begins with the encoding of the raw image,
    such as ``bayer_rggb8; png compressed``.
    """
    pattern = image_format.partition(";")[0].strip().lower().removeprefix("bayer_")[:4]
    return _BAYER.get(pattern, cv2.COLOR_GRAY2RGB) if image_format.lower().startswith("bayer_") else cv2.COLOR_GRAY2RGB


def _describe(head: bytes) -> str:
    """Guess what data that is not a picture is, from its first bytes."""
    if not head:
        return "they are empty"
    if head.startswith(b"version https://git-lfs"):
        return "they are a Git LFS pointer; run `git lfs pull`"
    if head[:4] == b"\0\0\0\1" or head[:3] == b"\0\0\1":
        return "they begin like H.264 or H.265 video; publish decoded images"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "they are compressed by zstd; choose the raw topic"
    if head.startswith((b"/9j/", b"iVBORw0KGgo", b"data:image/")):
        return "they are base64 text, as in JSON; publish the bytes that it stands for"
    if head[:4] == b"OggS":
        return "they begin like Theora video; publish decoded images"
    return f"they are damaged, or not {PICTURE_FORMATS}; publish one of these"


def _to_rgb(samples: Samples, layout: _Layout, stretch: IntensityStretch | None) -> NDArray[np.uint8]:
    """Convert samples ``(H, W)`` or ``(H, W, C)`` of any depth to ``(H, W, 3)`` uint8."""
    if samples.dtype == np.uint8:
        narrow = samples
    elif stretch is not None:
        narrow = stretch.convert(samples)
    elif samples.dtype == np.uint16:
        narrow = (samples >> 8).astype(np.uint8)
    else:
        narrow = IntensityStretch().convert(samples)
    if layout.conversion is None:
        return np.asarray(narrow, np.uint8)
    return np.asarray(cv2.cvtColor(narrow, layout.conversion), np.uint8)


def _samples(
    layout: _Layout, encoding: str, height: int, width: int, step: int, is_bigendian: bool, flat: NDArray[np.uint8]
) -> Samples:
    """Return the samples as ``(H, W, channels)``, their sides made even where OpenCV needs that."""
    pairs = layout.even_sides and layout.channels == 2  # packed YUV 4:2:2: two pixels share their color
    stored_width = width + width % 2 if pairs else width
    row_bytes = stored_width * layout.channels * np.dtype(layout.dtype).itemsize
    rows = _rows(flat, height, row_bytes, step, f"{width} {printable(encoding, MAX_NAME_LENGTH)} pixels")
    _check_padding(encoding, stored_width, row_bytes, step)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    samples = np.ascontiguousarray(rows).view(dtype).reshape(height, stored_width, layout.channels)
    samples = samples.astype(layout.dtype, copy=False)
    if layout.even_sides and not pairs and (height % 2 or width % 2):  # Bayer: repeat the last whole cell
        samples = np.pad(samples, ((0, height % 2 * 2), (0, width % 2 * 2), (0, 0)), "reflect")
        samples = samples[: height + height % 2, : width + width % 2]
    return samples


def _check_padding(encoding: str, width: int, row_bytes: int, step: int) -> None:
    """Raise CorruptImage if the step is longer than alignment explains, but fits an encoding with larger pixels."""
    alignment = min(step & -step, MAX_ALIGNMENT)  # the largest power of two that divides the step
    if step < row_bytes + alignment or step % width:
        return
    sizes = {name: layout.channels * np.dtype(layout.dtype).itemsize for name, layout in _LAYOUTS.items()}
    meant = next((name for name, size in sizes.items() if size == step // width), None)
    if meant is not None:
        raise CorruptImage(
            f"the step says {step // width} bytes a pixel, {printable(encoding, MAX_NAME_LENGTH)} has "
            f"{row_bytes // width}: does the driver mean {meant}?"
        )


def _rows(flat: NDArray[np.uint8], height: int, row_bytes: int, step: int, what: str) -> NDArray[np.uint8]:
    """Return ``(height, row_bytes)`` of a buffer whose rows are ``step`` bytes apart."""
    if step < row_bytes:
        if flat.size != row_bytes * height:
            raise CorruptImage(f"step of {step} bytes, but a row of {what} takes {row_bytes}")
        step = row_bytes
    needed = step * (height - 1) + row_bytes
    if flat.size < needed:
        raise CorruptImage(f"{flat.size} bytes of data, but {height} rows with a step of {step} take {needed}")
    return np.lib.stride_tricks.as_strided(flat, (height, row_bytes), (step, 1), writeable=False)


def _decode_planar(name: str, height: int, width: int, step: int, flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode YUV whose planes follow one another; the rows of every plane are padded in proportion."""
    rows, columns = -(-height // 2), -(-width // 2)
    full, half = (height, width), (rows, columns)
    color_size = {"nv16": (height, columns), "nv61": (height, columns), "nv24": full, "nv42": full}.get(name, half)
    if step < width or flat.size == height * width + 2 * color_size[0] * color_size[1]:
        step = width  # packed, though the header says otherwise
    if color_size == half and height % 3 == 0 and flat.size == step * height and step < 2 * width:
        raise CorruptImage(
            f"the height of {height} includes the chroma rows of {name}; the driver must say {height // 3 * 2}"
        )
    # Hardware decoders store 1088 rows for 1080; the chroma planes follow these.
    stored = next((n for n in _aligned(height) if color_size == half and 2 * flat.size == 3 * step * n), height)
    position = step * stored
    luma = _plane(flat, 0, height, width, step, name)
    if name in ("i420", "yv12"):
        color_step = step // 2 if step > width else columns
        first = _plane(flat, position, rows, columns, color_step, name)
        second = _plane(flat, position + -(-stored // 2) * color_step, rows, columns, color_step, name)
        color = np.stack((first, second), axis=-1)
    else:
        color_rows, color_columns = color_size
        color_step = max(step * (2 if name in ("nv24", "nv42") else 1), 2 * color_columns)
        color = _plane(flat, position, color_rows, 2 * color_columns, color_step, name).reshape(
            color_rows, color_columns, 2
        )
    if name in ("nv21", "nv61", "nv42", "yv12"):  # V before U
        color = color[..., ::-1]
    return _yuv_to_rgb(luma, color)


def _aligned(height: int) -> Iterator[int]:
    """Yield the next multiples of 2, 8, 16, 32 and 64."""
    return (-(-height // multiple) * multiple for multiple in (2, 8, 16, 32, 64))


def _plane(
    flat: NDArray[np.uint8], position: int, height: int, row_bytes: int, step: int, name: str
) -> NDArray[np.uint8]:
    needed = position + step * (height - 1) + row_bytes
    if flat.size < needed:
        raise CorruptImage(f"{flat.size} bytes of data, but a {name} image of this size and step takes {needed}")
    rows = np.lib.stride_tricks.as_strided(flat[position:], (height, row_bytes), (step, 1), writeable=False)
    return np.ascontiguousarray(rows)


def _yuv_to_rgb(luma: NDArray[np.uint8], color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert luma ``(H, W)`` and chroma (U, V) of any resolution through OpenCV's UYVY (BT.601, 16 to 235)."""
    height, width = luma.shape
    even = width + width % 2
    packed = np.zeros((height, even, 2), np.uint8)
    packed[:, :width, 1] = luma
    wide = cv2.resize(color, (even // 2, height), interpolation=cv2.INTER_NEAREST)
    packed[..., 0] = wide.reshape(height, even)
    return np.asarray(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_UYVY), np.uint8)[:, :width]


Decoder = Callable[[], NDArray[np.uint8]]
"""Returns the pixels of a frame, ``(H, W, 3)`` uint8 RGB; raises ValueError if they cannot be decoded."""
