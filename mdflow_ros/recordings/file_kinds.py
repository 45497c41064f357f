# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Tell the kind of a file by its first bytes, not by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mdflow_ros.recordings.frame import FrameSourceError

MCAP, SQLITE, ROS1_BAG, ZSTD = b"\x89MCAP0\r\n", b"SQLite format 3\0", b"#ROSBAG V2.0\n", b"\x28\xb5\x2f\xfd"
"""First bytes of the files that bags are made of."""

METADATA = "metadata.yaml"
"""The file that describes a ROS 2 bag, in the folder of its parts."""

CACHE_TAG = "CACHEDIR.TAG"
"""A file in folders of derived files, such as decoded frames (https://bford.info/cachedir)."""

_MAGIC = {
    b"version https://git-lfs": "lfs",
    MCAP: ".mcap",
    SQLITE: ".db3",
    ROS1_BAG: ".bag",
    b"#ROSBAG V1": "rosbag1",
    ZSTD: ".zstd",
    b"\x1f\x8b": ".gz",
    b"PK\x03\x04": ".zip",
}

_UNPACK = {".zstd": "unzstd", ".gz": "gunzip", ".zip": "unzip"}


def is_hidden(path: Path) -> bool:
    """Return whether a file is hidden or belongs to the system, such as ``._name``, ``.Trash-1000``, ``__MACOSX``.

    Args:
        path: relative to the folder that the user named, which may itself be hidden.
    """
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield all folders below ``folder`` once each, including linked ones, but neither hidden ones nor caches."""
    visited = {folder.resolve()}
    for place, names, _ in os.walk(folder, followlinks=True):
        kept = []
        for path in sorted(Path(place, name) for name in names):
            target = path.resolve()
            if target not in visited and not is_hidden(Path(path.name)) and not (path / CACHE_TAG).exists():
                visited.add(target)
                kept.append(path.name)
                yield path
        names[:] = kept


def content_kind(path: Path) -> str:
    """Return the kind of a file by its first bytes.

    Returns:
        The suffix that it should have, ``lfs``, ``rosbag1``, ``empty``, ``link`` for a broken link, or ``""``.
    """
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError:
        return "link"
    if not head:
        return "empty"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def check_content(path: Path, expected: str = "") -> None:
    """Refuse a file with another content than its name says.

    Args:
        path: the file.
        expected: suffix of the expected format, such as ``.mcap``; empty for any.

    Raises:
        FrameSourceError: it is a Git LFS pointer, a broken link, empty, or has another known format; the text names the
            fix.
    """
    kind = content_kind(path)
    if kind == "lfs":
        raise FrameSourceError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository"
        )
    if kind == "link":
        raise FrameSourceError(f"{path} is a link to a file that is not here: fetch it (`git annex get`, `dvc pull`)")
    if kind == "empty":
        raise FrameSourceError(f"{path} is empty (0 bytes): copy or record it again")
    if kind == "rosbag1":
        raise FrameSourceError(f"{path} is a ROS 1 bag of version 1; convert it with `rosbag fix`")
    if kind in _UNPACK and kind != expected:
        raise FrameSourceError(f"{path} is compressed as {kind}: unpack it with `{_UNPACK[kind]}` first")
    if expected and kind and kind != expected:
        raise FrameSourceError(f"{path} holds a {kind} file: rename it so that its name ends in {kind}")
