# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decompress the intact beginning of damaged data."""

from __future__ import annotations

import bz2

import lz4.frame

from mdflow_ros.recordings.bag_message import zstd

STEP = 4096
"""Compressed bytes that are fed at once: at most this many intact bytes before the damage are lost."""

DECOMPRESSORS = {"zstd": zstd.ZstdDecompressor, "lz4": lz4.frame.LZ4FrameDecompressor, "bz2": bz2.BZ2Decompressor}


def decompress_intact(data: bytes, compression: str) -> bytes:
    """Decompress as many bytes as are intact; none if the compression is unknown.

    Args:
        data: compressed bytes.
        compression: a key of `DECOMPRESSORS`; empty (MCAP) or ``none`` (ROS 1) for uncompressed data.
    """
    if compression in ("", "none"):
        return data
    if compression not in DECOMPRESSORS:
        return b""
    stream, plain = DECOMPRESSORS[compression](), bytearray()
    try:
        for start in range(0, len(data), STEP):
            plain += stream.decompress(data[start : start + STEP])
    except (zstd.ZstdError, OSError, RuntimeError, EOFError):  # OSError is bz2's, RuntimeError lz4's
        pass
    return bytes(plain)
