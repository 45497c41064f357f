# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How the user names a recording: ``bag:PATH#/topic``, ``video:PATH``, ``images:FOLDER``, or a plain path."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mdflow_ros.recordings.bag_frames import BagFrames
from mdflow_ros.recordings.bag_parts import BAG_SUFFIXES, find_parts, is_bag_file, natural_order
from mdflow_ros.recordings.frame import Frame, FrameSourceError
from mdflow_ros.recordings.media_frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ImageFrames, VideoFrames

KINDS = ("bag", "video", "images")


@dataclass(frozen=True)
class Source:
    """A recording, or several of one kind that a glob matched.

    ``topic`` is for bags: None takes the only camera.
    """

    kind: str
    paths: tuple[Path, ...]
    topic: str | None = None

    def files(self) -> list[Path]:
        """List the files that the frames come from."""
        if self.kind == "bag":
            return [part for path in self.paths for part in find_parts(path, [])]
        if self.kind == "images":
            return [file for path in self.paths for file in ImageFrames(path).files]
        return list(self.paths)

    def frames(self, warnings: list[str]) -> Iterator[tuple[str, Frame]]:
        """Yield (stream, frame): the stream is a bag's topic, or the path of a video or folder.

        ``warnings`` gets a line for everything that is missing, damaged, or odd.
        """
        if self.kind == "bag":
            bag = BagFrames(self.paths, self.topic, warnings)
            yield from ((bag.topic, frame) for frame in bag)
            return
        for path in self.paths:
            frames = VideoFrames(path) if self.kind == "video" else ImageFrames(path)
            yield from ((str(path), frame) for frame in frames)


def parse_source(name: str) -> Source:
    """Find out what a name means.

    Raises:
        FrameSourceError: nothing matches it, or it is no kind of recording.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in KINDS:
        kind, rest = "", name
    pattern, hash_mark, topic = rest.partition("#")
    paths = [Path(pattern)] if Path(pattern).exists() else _matches(pattern)
    if not paths:
        raise FrameSourceError(
            f"{pattern} matches no bag, video or folder; of single images, name the folder"
            if glob.glob(pattern, recursive=True)
            else f"{pattern} does not exist"
        )
    kind = kind or _guess_kind(paths[0])
    if hash_mark and kind != "bag":
        raise FrameSourceError(f"{name}: only a bag has topics")
    return Source(kind, tuple(paths), topic or None)


def _matches(pattern: str) -> list[Path]:
    """Expand a glob to the folders, bags and videos that it matches, in the natural order of names."""
    paths = (Path(match) for match in glob.glob(pattern, recursive=True))
    known = (path for path in paths if path.is_dir() or is_bag_file(path) or path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(known, key=natural_order)


def _guess_kind(path: Path) -> str:
    if path.is_dir():
        holds_bag = any(is_bag_file(file) for file in path.rglob("*"))
        return "images" if not holds_bag and any(_is_image(file) for file in path.iterdir()) else "bag"
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    if is_bag_file(path):
        return "bag"
    raise FrameSourceError(
        f"{path} is neither a bag ({', '.join(BAG_SUFFIXES)}), a video ({', '.join(VIDEO_SUFFIXES)}) nor a folder; "
        f"say which with {', '.join(kind + ':' for kind in KINDS)}"
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES
