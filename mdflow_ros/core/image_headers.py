# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The size of a compressed image, read from its header before anything is decoded.

A few kilobytes can claim billions of pixels, whose decoding takes gigabytes and half a minute.
"""

from __future__ import annotations

import re
import struct

_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_HEADER = 1 << 16
"""Bytes of a PNM header with its comments."""


def read_compressed_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG, PNG, WebP, BMP, PNM or TIFF image, or ``None`` if the header has none.

    Sources: ITU T.81 (JPEG), PNG specification, RFC 9649 (WebP), TIFF 6.0, netpbm's documentation.
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
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        if re.match(rb"P[1-6]\s", data):
            return _pnm_size(data)
    except struct.error:  # cut off inside its header
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while True:
        (marker,) = struct.unpack_from(">H", data, position)
        if marker >> 8 != 0xFF:
            return None
        if marker == 0xFFFF:  # fill byte
            position += 1
            continue
        if marker & 0xFF in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
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


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    sides: dict[int, int] = {}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in (256, 257):  # ImageWidth and ImageLength, as SHORT or LONG
            (sides[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _pnm_size(data: bytes) -> tuple[int, int] | None:
    header = re.sub(rb"#[^\n]*", b"", data[:_MAX_HEADER])
    match = re.match(rb"P[1-6]\s+(\d{1,9})\s+(\d{1,9})\s", header)
    return (int(match[1]), int(match[2])) if match else None
