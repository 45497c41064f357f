# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pack the textures into one small file, for a training machine without network."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.picture_files import opencv_path
from mdflow_ros.core.resizing import shrink

MAX_PACK_BYTES = 40 * 2**20
SIDES = (1280, 1024, 896, 768, 640, 512, 384)
"""Candidates for the longer side of the photographs, in pixels; the largest that fits is used."""

CUTOUT_SHARE = 4
"""The cut-outs are this many times smaller than the photographs."""

JPEG_QUALITY, WEBP_QUALITY = 85, 85
LICENSES = "LICENSES.md"


def write_pack(folder: Path, pack: Path, max_bytes: int = MAX_PACK_BYTES) -> int:
    """Write the pictures of ``folder`` and their license list into a tar file, as large as ``max_bytes`` allows.

    Args:
        folder: that fetch_textures.py filled; so is the folder that ``tar -xf`` makes of the pack.
        pack: the file to write.
        max_bytes: of the file.

    Returns:
        The longer side of its photographs, pixels.

    Raises:
        FileNotFoundError: there are no photographs, or the license list is missing.
        ValueError: even the smallest pictures take more than ``max_bytes``.
    """
    photographs, cutouts = (sorted((folder / kind).glob("*")) for kind in ("photographs", "cutouts"))
    if not photographs or not (folder / LICENSES).exists():
        raise FileNotFoundError(f"{folder} has no pictures or no {LICENSES}; run training/fetch_textures.py first")
    for side in SIDES:
        content = _tar(folder, photographs, cutouts, side)
        if len(content) <= max_bytes:
            replace_file(pack, content)
            return side
    raise ValueError(f"the pack takes {len(content)} bytes at {side} pixels, more than {max_bytes}; raise the limit")


def _tar(folder: Path, photographs: list[Path], cutouts: list[Path], side: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        _add(archive, LICENSES, (folder / LICENSES).read_bytes())
        for file in photographs:
            jpeg = _encode(file, cv2.IMREAD_COLOR, side, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            _add(archive, f"photographs/{file.stem}.jpg", jpeg)
        for file in cutouts:
            webp = _encode(
                file, cv2.IMREAD_UNCHANGED, side // CUTOUT_SHARE, ".webp", [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
            )
            _add(archive, f"cutouts/{file.stem}.webp", webp)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _encode(file: Path, flags: int, side: int, suffix: str, quality: list[int]) -> bytes:
    """Return a picture encoded again, its longer side at most ``side`` pixels."""
    image = cv2.imread(opencv_path(file), flags)
    if image is None:
        raise ValueError(f"{file} is not a readable picture; delete it and run training/fetch_textures.py again")
    return cv2.imencode(suffix, shrink(image, side, side), quality)[1].tobytes()
