# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert recordings to pairs of frames for training and held-out pairs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.core.image_decoding import decode_compressed_image
from mdflow_ros.core.resizing import Size
from mdflow_ros.recordings.file_kinds import CACHE_TAG
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.source import Source, parse_source
from mdflow_training.frames.cache import read_image, read_thinning, thinned_out
from mdflow_training.frames.contact_sheet import COLUMNS, draw_contact_sheet
from mdflow_training.frames.decoding import decode_frames, example_folder, image_folder, index_path
from mdflow_training.frames.filters import FrameVerdict, find_blurred
from mdflow_training.frames.index import NO_CAMERA, FrameIndex
from mdflow_training.frames.sequences import (
    ANOTHER_CAMERA,
    RecordedPairs,
    find_recordings,
    find_sequences,
    pair_up,
    split_by_time,
    usual_interval,
)
from mdflow_training.frames.summary import FrameSummary
from mdflow_training.settings.frames import FrameSettings

CACHE_TAG_CONTENT = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder holds decoded frames of recordings.\n"


class NotEnoughFrames(FrameSourceError):
    """A recording was read, but its usable frames form no pairs.

    Attributes:
        summary: statistics of its frames.
    """

    def __init__(self, message: str, summary: FrameSummary) -> None:
        super().__init__(f"{message}\n{summary}")
        self.summary = summary


@dataclass(frozen=True)
class PreparedPairs:
    """The training pairs and held-out pairs of recordings, with their origin."""

    training: RecordedPairs
    held_out: RecordedPairs
    summary: FrameSummary
    contact_sheet: Path
    smallest_frames: dict[str, Size]
    """Smallest frame size of each recording that has pairs, by the recording's name."""


def prepare_pairs(
    sources: Sequence[str], folder: Path, settings: FrameSettings | None = None, progress: bool = True
) -> PreparedPairs:
    """Decode recordings into a cache and form pairs.

    Frames are decoded once: a second call with the same files and settings uses the cache of the first, or resumes it
    if the first was killed. Memory use is a few images plus about 100 bytes per recorded frame.

    Args:
        sources: ``bag:PATH#/topic``, ``video:PATH``, ``images:FOLDER``, or a plain path; paths may be globs. Bags are
            sorted by time.
        folder: receives the decoded frames, in a subfolder for each set of sources and settings.
        settings: the settings; None uses the defaults.
        progress: show a progress bar if the output is a terminal.

    Raises:
        FrameSourceError: a source does not exist, no source contains images, or the disk is full.
        NotEnoughFrames: the training part or the held-out part has no pair.
        FolderInUse: another process is decoding the same recordings into this folder.
    """
    settings = settings or FrameSettings()
    files = _files_by_source([parse_source(source) for source in sources])
    if not files:
        raise FrameSourceError("no source given: name a bag, a video or a folder of images")
    cache = folder / _fingerprint(files, settings)
    finished = cache / "finished.json"
    if not finished.exists():
        with folder_lock(cache):
            (cache / CACHE_TAG).write_text(CACHE_TAG_CONTENT)  # it may be below the folder of a recording
            warnings = decode_frames(list(files), cache, settings, progress)
            write_json(finished, {"sources": list(sources), "losses": warnings})
    warnings = json.loads(finished.read_text())["losses"]
    return _form_pairs(list(sources), cache, settings, warnings)


def _files_by_source(sources: Sequence[Source]) -> dict[Source, list[Path]]:
    """Return the files of each source, without sources that repeat earlier ones, even under another path."""
    read: set[tuple[str | None, Path]] = set()
    kept: dict[Source, list[Path]] = {}
    for source in sources:
        files = source.files()
        own = {(source.topic, file.resolve()) for file in files}
        if not own <= read or not own:
            kept[source] = files
        read |= own
    return kept


def _fingerprint(files_by_source: Mapping[Source, Sequence[Path]], settings: FrameSettings) -> str:
    """Return the name of a cache: a hash of everything that its content depends on."""
    files = []
    for source, paths in files_by_source.items():
        for path in paths:
            status = path.stat() if path.exists() else path.lstat()  # a dangling link
            files.append([source.kind, source.topic, str(path.resolve()), status.st_size, status.st_mtime_ns])
    decisive = settings.model_dump(include={"filters", "longest_side", "cache_gigabytes"})
    if settings.intensity_range != "auto":  # left out if "auto": caches of older versions then keep their names
        decisive["intensity_range"] = settings.intensity_range
    return hashlib.sha256(json.dumps([files, decisive]).encode()).hexdigest()[:16]


def _form_pairs(sources: list[str], cache: Path, settings: FrameSettings, warnings: list[str]) -> PreparedPairs:
    index = FrameIndex(index_path(cache))
    verdicts = _final_verdicts(index, read_thinning(image_folder(cache)), settings)
    sequences, cuts = find_sequences(
        index.stamps, index.camera_numbers, index.cameras, verdicts, settings.longest_gap_seconds
    )
    recordings = find_recordings(sequences, index.stamps, index.camera_numbers, index.cameras)
    parts = {name: split_by_time(own, settings.held_out_share) for name, own in recordings.items()}
    training, held_out = ([sequence for part in parts.values() for sequence in part[which]] for which in (0, 1))
    training_pairs = RecordedPairs(image_folder(cache), index.stamps, pair_up(training, settings.strides))
    # Held-out pairs use only the smallest stride, because the deployed node sees this motion.
    held_out_of = {name: pair_up(part[1], [min(settings.strides)]) for name, part in parts.items()}
    held_out_pairs = RecordedPairs(
        image_folder(cache),
        index.stamps,
        np.concatenate([*held_out_of.values(), np.zeros((0, 2), np.int64)]),
        [name for name, pairs in held_out_of.items() for _ in pairs],
    )
    with_camera = index.camera_numbers != NO_CAMERA
    interval = usual_interval(index.stamps[with_camera])
    summary = FrameSummary(
        sources=sources,
        cameras=list(dict.fromkeys(str(camera) for camera in index.cameras)),
        verdicts=dict(Counter(FrameVerdict(verdict).label for verdict in verdicts.tolist())),
        duration_seconds=float(np.clip(np.diff(index.stamps), 0, 3 * interval).sum()) / 1e9,
        rate_hz=1e9 / interval if interval else 0.0,
        sequences=len(sequences),
        cuts=dict(cuts),
        training_pairs=len(training_pairs),
        held_out_pairs=len(held_out_pairs),
        warnings=warnings,
    )
    write_json(cache / "summary.json", summary.as_dict())
    contact_sheet = cache / "contact_sheet.png"
    _draw(cache, contact_sheet, training, held_out, verdicts)
    _check(summary, settings, contact_sheet)
    paired = np.concatenate([training_pairs.numbers, held_out_pairs.numbers])
    smallest = _smallest_frames(recordings, paired, index)
    return PreparedPairs(training_pairs, held_out_pairs, summary, contact_sheet, smallest)


def _smallest_frames(
    recordings: Mapping[str, Sequence[NDArray[np.int64]]], paired: NDArray[np.int64], index: FrameIndex
) -> dict[str, Size]:
    camera_numbers, smallest = index.camera_numbers, {}
    for name, sequences in recordings.items():
        numbers = camera_numbers[np.intersect1d(np.concatenate(sequences), paired)]
        sizes = [Size(camera.width, camera.height) for camera in (index.cameras[n] for n in np.unique(numbers))]
        if sizes:
            smallest[name] = min(sizes, key=min)
    return smallest


def _final_verdicts(index: FrameIndex, thinning: int, settings: FrameSettings) -> NDArray[np.int8]:
    """Return the verdict on each frame, including BLURRED and THINNED_OUT, which depend on the whole recording."""
    verdicts = index.verdicts
    kept = np.flatnonzero(verdicts == FrameVerdict.KEPT)
    if "blurred" in settings.filters:
        camera_of, sharpness = index.camera_numbers[kept], index.sharpness[kept]
        for camera in np.unique(camera_of):
            of_camera = camera_of == camera
            verdicts[kept[of_camera][find_blurred(sharpness[of_camera])]] = FrameVerdict.BLURRED
    verdicts[kept[thinned_out(kept, thinning)]] = FrameVerdict.THINNED_OUT
    return verdicts


def _check(summary: FrameSummary, settings: FrameSettings, contact_sheet: Path) -> None:
    missing = "train on" if not summary.training_pairs else "hold out"
    if summary.training_pairs and (summary.held_out_pairs or not settings.held_out_share):
        return
    found, undecodable = sum(summary.verdicts.values()), summary.verdicts.get(FrameVerdict.UNDECODABLE.label, 0)
    if found == undecodable:
        reasons = "".join(f"\n  {warning}" for warning in summary.warnings)
        raise FrameSourceError(
            f"{', '.join(summary.sources)}: none of {found} images can be decoded: choose another topic or recording"
            f"{reasons}"
        )
    frames = summary.verdicts.get(FrameVerdict.KEPT.label, 0)
    raise NotEnoughFrames(
        f"{', '.join(summary.sources)}: {frames} usable frames (unbroken runs: {summary.sequences}) make no pair to "
        f"{missing}; {_advice(frames, summary, contact_sheet)}",
        summary,
    )


def _advice(frames: int, summary: FrameSummary, contact_sheet: Path) -> str:
    if frames > 1 and 2 * summary.cuts.get(ANOTHER_CAMERA, 0) > frames:
        return (
            "frames of another camera, size or header.frame_id come in between: record a topic for each camera, "
            "whose frame_id stays the same, or put the images of each size into a separate folder"
        )
    return f"record a longer drive, or switch filters off if\n{contact_sheet} shows that they drop too much"


def _draw(
    cache: Path,
    contact_sheet: Path,
    training: list[NDArray[np.int64]],
    held_out: list[NDArray[np.int64]],
    verdicts: NDArray[np.int8],
) -> None:
    rows = []
    for title, part in (("kept for training", training), ("held out", held_out)):
        numbers = np.concatenate(part) if part else np.zeros(0, np.int64)
        spread = numbers[np.linspace(0, len(numbers) - 1, min(COLUMNS, len(numbers))).astype(int)]
        rows.append(
            (f"{title}: {len(numbers)}", [read_image(image_folder(cache), number) for number in spread.tolist()])
        )
    blurred = np.flatnonzero(verdicts == FrameVerdict.BLURRED)
    if blurred.size:
        images = [read_image(image_folder(cache), number) for number in blurred[:COLUMNS].tolist()]
        rows.append((f"dropped, blurred: {blurred.size}", images))
    for label, count in Counter(FrameVerdict(verdict).label for verdict in verdicts.tolist()).items():
        examples = sorted(example_folder(cache).glob(f"{label}_*.png"))
        if examples:
            images = [decode_compressed_image(path.read_bytes()) for path in examples[-COLUMNS:]]
            rows.append((f"dropped, {label}: {count}", images))
    draw_contact_sheet(rows, contact_sheet)
