# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Parse names of recordings: ``bag:PATH#/topic``, ``video:PATH``, ``images:FOLDER``, or a path."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mdflow_ros.core.intensity import IntensityRange
from mdflow_ros.recordings.bag_frames import BagFrames
from mdflow_ros.recordings.bag_parts import BAG_SUFFIXES, bag_files, find_parts, is_bag_file, natural_order
from mdflow_ros.recordings.file_kinds import METADATA, check_content, is_hidden
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame
from mdflow_ros.recordings.image_frames import IMAGE_SUFFIXES, ImageFrames, folders_with_images, image_files
from mdflow_ros.recordings.video_frames import VIDEO_SUFFIXES, VideoFrames

KINDS = ("bag", "video", "images")

OTHER_IMAGES = {".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".exr", ".hdr"}
"""Suffixes of image files that cannot be read."""


@dataclass(frozen=True)
class Source:
    """A recording, or several of one kind that match a glob.

    Attributes:
        kind: one of `KINDS`.
        paths: of the recordings.
        topic: of bags; None for the only camera.
    """

    kind: str
    paths: tuple[Path, ...]
    topic: str | None = None

    def files(self) -> list[Path]:
        """List the files that the frames come from."""
        if self.kind == "bag":
            return [part for path in self.paths for part in find_parts(path, [])]
        if self.kind == "images":
            return [file for path in self.paths for file in ImageFrames(path, []).files]
        return list(self.paths)

    def frames(
        self, warnings: list[str], intensity_range: IntensityRange = "auto"
    ) -> Iterator[tuple[str, RecordedFrame]]:
        """Yield (stream, frame).

        The stream is a bag's topic, or the path of a video or folder; if several cameras share a folder, the name
        pattern of the camera is appended.

        ``warnings`` receives a line for everything that is missing, damaged or unusual. ``intensity_range`` is for
        images with more than 8 bits, see `IntensityStretch`.
        """
        if self.kind == "bag":
            bag = BagFrames(self.paths, self.topic, warnings, intensity_range)
            yield from ((bag.topic, frame) for frame in bag)
            return
        for path in self.paths:
            if self.kind == "video":
                yield from ((str(path), frame) for frame in VideoFrames(path, warnings, intensity_range))
            else:
                images = ImageFrames(path, warnings, intensity_range)
                yield from ((str(path / pattern), frame) for pattern, frame in images)


def parse_source(name: str) -> Source:
    """Parse the name of a recording.

    Raises:
        FrameSourceError: nothing matches it, or it is not a recording.
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in KINDS:
        kind, rest = "", name
    if "://" in name:
        raise FrameSourceError(
            f"{name}: streams are not read; record it first, for example with `ffmpeg -i URL -c copy drive.mkv`"
        )
    pattern, topic = _split_topic(os.path.expanduser(rest))  # the shell does not expand ~ after a colon
    if not pattern:  # for example an unset variable; Path("") would be the current folder
        raise FrameSourceError(f"'{name}' names no recording: give the path of a bag, a video or a folder")
    paths = [Path(pattern)] if Path(pattern).exists() else _matches(pattern)
    if not paths:
        raise FrameSourceError(
            f"{pattern} matches no bag, video or folder; to read images, name their folder"
            if _expanded(pattern) or Path(pattern).suffix.lower() in IMAGE_SUFFIXES
            else f"{pattern} does not exist"
        )
    kind = kind or _common_kind(paths)
    if topic is not None and kind != "bag":
        raise FrameSourceError(f"{name}: only a bag has topics")
    return Source(kind, tuple(paths), topic or None)


def _split_topic(name: str) -> tuple[str, str | None]:
    """Split ``PATH#/topic``. An existing path is not split, because paths may contain a ``#``, too."""
    if Path(name).exists():
        return name, None
    marks = [position for position, letter in enumerate(name) if letter == "#"]
    if not marks:
        return name, None
    existing = [mark for mark in marks if Path(name[:mark]).exists()]
    # After a glob, the topic begins with a slash or follows the first colon.
    rooted = [mark for mark in marks if name[mark + 1 : mark + 2] == "/"]
    mark = (existing or rooted or marks[:1])[-1]
    return name[:mark], name[mark + 1 :]


def _matches(pattern: str) -> list[Path]:
    """Return the folders, bags and videos that match a glob, in the natural order of their names."""
    known = (
        path
        for path in _expanded(pattern)
        if not is_hidden(Path(path.name))
        and (path.is_dir() or is_bag_file(path) or path.suffix.lower() in VIDEO_SUFFIXES)
    )
    return sorted(known, key=natural_order)


def _expanded(pattern: str) -> list[Path]:
    """Expand a glob, below the folders that exist: their names may hold brackets."""
    folder = next(above for above in Path(pattern).parents if above.exists())
    return [
        folder / match for match in glob.glob(str(Path(pattern).relative_to(folder)), root_dir=folder, recursive=True)
    ]


def _describe_content(folder: Path) -> str:
    """Describe the content of a folder without bags and images, and say what to do."""
    files = [file for file in folder.rglob("*") if file.is_file() and not is_hidden(file.relative_to(folder))]
    videos = sorted((file for file in files if file.suffix.lower() in VIDEO_SUFFIXES), key=natural_order)
    if videos:
        return f"Name one of its videos, such as {videos[0]}, or all: '{videos[0].parent}/*{videos[0].suffix}'"
    endings = Counter(file.suffix or "no ending" for file in files)
    listed = ", ".join(f"{count} with {ending}" for ending, count in endings.most_common(5))
    known = f"Supported are bags ({', '.join(BAG_SUFFIXES)}) and images ({', '.join(IMAGE_SUFFIXES)})"
    if OTHER_IMAGES.intersection(map(str.lower, endings)):
        known += "; convert the others to PNG or JPEG, for example with `heif-convert` or `ffmpeg`"
    return f"Its files: {listed or 'none'}. {known}"


def _common_kind(paths: list[Path]) -> str:
    kinds = {path: _guess_kind(path) for path in paths}
    first = kinds[paths[0]]
    other = next((path for path, kind in kinds.items() if kind != first), None)
    if other is not None:
        raise FrameSourceError(
            f"{paths[0]} is of kind '{first}', but {other} is of kind '{kinds[other]}'; name sources of one kind"
        )
    return first


def _guess_kind(path: Path) -> str:
    if path.is_dir():
        if bag_files(path):
            return "bag"
        if image_files(path) or folders_with_images(path):
            return "images"
        raise FrameSourceError(f"{path} holds neither a bag nor images. {_describe_content(path)}")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    if is_bag_file(path):
        return "bag"
    if path.name == METADATA:
        raise FrameSourceError(f"{path} describes a bag: name its folder, {path.parent}")
    if path.is_file():
        check_content(path)  # its error says how to unpack a compressed file
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise FrameSourceError(f"{path} is one image: name its folder, {path.parent}")
    if path.name.lower().endswith(BAG_SUFFIXES):
        raise FrameSourceError(f"{path}: rename the bag so that its ending is in lower case, as ROS needs it")
    raise FrameSourceError(
        f"{path} is neither a bag ({', '.join(BAG_SUFFIXES)}), a video ({', '.join(VIDEO_SUFFIXES)}) nor a folder; "
        f"say which with {', '.join(kind + ':' for kind in KINDS)}"
    )
