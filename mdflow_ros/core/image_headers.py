# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The size of a compressed image, read from its header before anything is decoded.

A few kilobytes can claim billions of pixels, whose decoding takes gigabytes and half a minute.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress

_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_MARKER = re.compile(rb"\xff([^\0\xff])")

MAX_SEGMENTS = 1000
"""Segments of a JPEG, or boxes of a JPEG 2000, to search for the size. A normal file has about a dozen; a hostile one
could have so many that skipping them takes seconds."""

TIFF_STARTS = (b"II*\0", b"MM\0*")
TIFF_ORIENTATION = 274
"""The tag of the orientation."""

MAX_PNM_HEADER = 1 << 16
"""Longest PNM header, including comments, that is read, in bytes."""


def read_compressed_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height of a JPEG, PNG, WebP, TIFF, BMP, PNM or JP2 image, or ``None`` if the header has none.

    Sources: ITU T.81 (JPEG), ITU T.800 (JP2), PNG specification, RFC 9649 (WebP), TIFF 6.0, netpbm's documentation.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
            return abs(width), abs(height)
        if data[:4] in TIFF_STARTS:
            return _tiff_size(data)
        if data[4:12] == b"jP  \r\n\x87\n":
            return _jp2_size(data)
        if re.match(rb"P[1-6]\s", data):
            return _pnm_size(data)
    except struct.error:  # cut off inside its header
        pass
    return None


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)  # skips fill bytes and garbage, as libjpeg does
        if found is None:
            return None
        marker, position = found[1][0], found.end()
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker not in _JPEG_WITHOUT_LENGTH:
            position += struct.unpack_from(">H", data, position)[0]
    return None


def _webp_size(data: bytes | memoryview) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[start : start + 3], "little") + 1 for start in (24, 27))
        return width, height
    return None


def _tiff_size(data: bytes | memoryview) -> tuple[int, int] | None:
    order = _tiff_order(data)
    sides: dict[int, int] = {}
    for entry in _tiff_entries(data):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257) and tag not in sides:  # ImageWidth and ImageLength, as SHORT or LONG; the first ones count
            if kind not in (3, 4):
                return None
            (sides[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _tiff_order(data: bytes | memoryview) -> str:
    return "<" if data[:2] == b"II" else ">"


def _tiff_entries(data: bytes | memoryview) -> range:
    """Return the positions of the entries of the first directory."""
    order = _tiff_order(data)
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    return range(directory + 2, directory + 2 + 12 * count, 12)


def without_tiff_orientation(data: bytes) -> bytes:
    """Return a TIFF without its orientation, which OpenCV always obeys; a damaged TIFF as it is."""
    with suppress(struct.error):
        for entry in _tiff_entries(data):
            (tag,) = struct.unpack_from(_tiff_order(data) + "H", data, entry)
            if tag == TIFF_ORIENTATION:
                upright = struct.pack(_tiff_order(data) + "HHIHH", tag, 3, 1, 1, 0)
                return data[:entry] + upright + data[entry + len(upright) :]
    return data


def pnm_maximum(data: bytes | memoryview) -> int | None:
    """Return the value of white in a binary PGM or PPM image; ``None`` for other data."""
    if data[:2] not in (b"P5", b"P6"):
        return None
    match = re.match(rb"P[56]\s+\d+\s+\d+\s+(\d{1,5})\s", _without_comments(data))
    return int(match[1]) if match else None


def _jp2_size(data: bytes | memoryview) -> tuple[int, int] | None:
    position = 0
    for _ in range(MAX_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"jp2c":
            start, right, bottom, left, top = struct.unpack_from(">I4x4I", data, position + 8)
            return (right - left, bottom - top) if start == 0xFF4FFF51 else None
        position += length
    return None


def _pnm_size(data: bytes | memoryview) -> tuple[int, int] | None:
    match = re.match(rb"P[1-6]\s+(\d{1,9})\s+(\d{1,9})\s", _without_comments(data))
    return (int(match[1]), int(match[2])) if match else None


def _without_comments(data: bytes | memoryview) -> bytes:
    return re.sub(rb"#[^\r\n]*", b"", data[:MAX_PNM_HEADER])
