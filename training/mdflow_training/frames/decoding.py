# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""One pass over recordings: classify every frame, store the usable ones, log all. Can resume after a kill."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mdflow_ros.core.picture_files import write_picture
from mdflow_ros.core.resizing import shrink
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame
from mdflow_ros.recordings.source import Source
from mdflow_training.frames.cache import SUFFIX, FrameCache
from mdflow_training.frames.contact_sheet import CELL_HEIGHT, CELL_WIDTH
from mdflow_training.frames.filters import FrameFilter, FrameVerdict, measure_sharpness
from mdflow_training.frames.index import CameraIdentity, FrameIndex
from mdflow_training.settings.frames import FrameSettings

DISK_RESERVE = 10**9
"""Bytes left free on the disk of the cache."""

MAX_REASONS = 3
"""Maximum number of different reasons to report for frames that cannot be decoded."""


def index_path(cache: Path) -> Path:
    """Return the log of all frames."""
    return cache / "index.jsonl"


def image_folder(cache: Path) -> Path:
    """Return the folder of the stored frames."""
    return cache / "images"


def example_folder(cache: Path) -> Path:
    """Return the folder of small copies of some dropped frames, named ``<verdict>_<count>.png``."""
    return cache / "dropped"


def decode_frames(sources: Sequence[Source], cache: Path, settings: FrameSettings, progress: bool) -> list[str]:
    """Fill a cache, or continue one that a killed run left incomplete.

    Returns:
        One line for everything in the sources that is missing, damaged or unusual.

    Raises:
        FrameSourceError: no source contains images, or the disk or the cache is full.
    """
    cache.mkdir(parents=True, exist_ok=True)
    warnings: list[str] = []
    decoding = _Decoding(cache, settings)
    frames = tqdm(
        _in_order_of_time(sources, warnings, settings),
        desc="decode",
        unit=" frames",
        disable=None if progress else True,
    )
    for number, (source, stream, frame) in enumerate(frames):
        decoding.take(number, source, stream, frame)
    return list(dict.fromkeys([*warnings, *sorted(decoding.problems)]))


class _Decoding:
    """Classifies the frames of recordings one by one and stores the usable ones.

    Args:
        cache: the cache to fill; may contain the frames of an interrupted run.
        settings: which frames to drop.

    Attributes:
        problems: some reasons why frames could not be decoded.
    """

    def __init__(self, cache: Path, settings: FrameSettings) -> None:
        self.problems: set[str] = set()
        self._longest_side = settings.longest_side
        self._index = FrameIndex(index_path(cache), resume=True)
        self._images = FrameCache(image_folder(cache), _cache_limit(cache, settings))
        self._filter = FrameFilter(*(name in settings.filters for name in ("exposure", "duplicate", "static")))
        self._examples = _Examples(example_folder(cache))
        self._seen: set[tuple[int, int, str, int]] = set()
        self._done = len(self._index)
        self._shot = self._index.cameras[-1].shot if self._index.cameras else 0
        # After a resume, the intensity range is measured again, so earlier frames are not paired with later ones.
        self._range_changes: int | None = 0 if self._done else None

    def take(self, number: int, source: int, stream: str, frame: RecordedFrame) -> None:
        """Process the next frame; frames that an interrupted run has logged are skipped."""
        # Only within a bag: two runs of a simulation may have the same stamps.
        identity = (source, frame.bag, stream, frame.stamp)
        new = identity not in self._seen
        self._seen.add(identity)
        # The last logged frame is classified again, to restore the state of the filter.
        if number < self._done - 1:
            return
        verdict, image = self._decode(frame) if new else (FrameVerdict.STAMP_SEEN_BEFORE, None)
        if number < self._done:
            return
        if image is None:
            self._index.append(frame.stamp, verdict)
            return
        sharpness = 0.0
        if verdict is FrameVerdict.KEPT:
            new_range = frame.stretch.changes != self._range_changes and self._range_changes is not None
            self._range_changes = frame.stretch.changes
            self._shot += self._filter.view_changed or new_range
            sharpness = measure_sharpness(image)
            self._images.add(number, image)
        else:
            self._examples.add(verdict, image)
        height, width = image.shape[:2]
        camera = CameraIdentity(stream, frame.frame_id, height, width, self._shot)
        self._index.append(frame.stamp, verdict, camera, sharpness)

    def _decode(self, frame: RecordedFrame) -> tuple[FrameVerdict, NDArray[np.uint8] | None]:
        try:
            image = _limit_size(frame.decode(), self._longest_side)
        except ValueError as error:
            if len(self.problems) < MAX_REASONS:
                self.problems.add(f"undecodable: {error}")
            return FrameVerdict.UNDECODABLE, None
        return self._filter.classify(image), image


def _in_order_of_time(
    sources: Sequence[Source], warnings: list[str], settings: FrameSettings
) -> Iterator[tuple[int, str, RecordedFrame]]:
    """Yield (source, stream, frame) of all sources: bags by the stamp of their first frame, then others as given.

    A line is added to ``warnings`` for each source that cannot be read.

    Raises:
        FrameSourceError: no source can be read.
    """
    bags = [_with_paths_in_order_of_time(source) for source in sources if source.kind == "bag"]
    if len(bags) > 1:
        bags.sort(key=_first_stamp)
    errors: list[FrameSourceError] = []
    for number, source in enumerate([*bags, *(source for source in sources if source.kind != "bag")]):
        try:
            for stream, frame in source.frames(warnings, settings.intensity_range):
                yield number, stream, frame
        except FrameSourceError as error:
            errors.append(error)
    if errors and len(errors) == len(sources):
        raise errors[0]
    warnings += [f"{error}; the other recordings are read" for error in errors]


def _with_paths_in_order_of_time(source: Source) -> Source:
    if len(source.paths) == 1:
        return source
    first_stamps = {path: _first_stamp(replace(source, paths=(path,))) for path in source.paths}
    return replace(source, paths=tuple(sorted(source.paths, key=lambda path: first_stamps[path])))


def _first_stamp(source: Source) -> int:
    """Return the stamp of a source's first frame, or 0 if there is none or reading fails (reported later)."""
    try:
        return next((frame.stamp for _, frame in source.frames([])), 0)
    except FrameSourceError:
        return 0


def _limit_size(image: NDArray[np.uint8], longest_side: int | None) -> NDArray[np.uint8]:
    return image if longest_side is None else shrink(image, longest_side, longest_side)


def _cache_limit(cache: Path, settings: FrameSettings) -> int:
    """Return the size limit of the stored frames, in bytes."""
    stored = sum(path.stat().st_size for path in image_folder(cache).glob(f"*{SUFFIX}"))
    room = shutil.disk_usage(cache).free + stored - DISK_RESERVE
    if room <= 0:
        raise FrameSourceError(f"the disk of {cache} has less than {DISK_RESERVE / 1e9:.0f} GB free; make room there")
    return min(round(settings.cache_gigabytes * 1e9), room)


class _Examples:
    """Stores the first, second, fourth, eighth, ... frame of each verdict, so only few are stored."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._counts = folder, Counter[FrameVerdict]()

    def add(self, verdict: FrameVerdict, image: NDArray[np.uint8]) -> None:
        self._counts[verdict] += 1
        count = self._counts[verdict]
        if count & (count - 1) == 0:
            path = self._folder / f"{verdict.label}_{count:08d}.png"
            write_picture(path, shrink(image, CELL_WIDTH, CELL_HEIGHT))
