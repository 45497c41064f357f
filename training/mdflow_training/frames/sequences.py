# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Unbroken sequences of frames, and the pairs formed from them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_training.frames.cache import read_image
from mdflow_training.frames.filters import FrameVerdict
from mdflow_training.frames.index import NO_CAMERA, CameraIdentity

GAP_IN_INTERVALS = 3.0
"""Default limit of a gap, in usual intervals: more than two frames in a row are missing."""

RECORDING_GAP, RECORDING_JUMP_BACK = 60.0, 1.0
"""A jump of time by more than this many seconds, forward or back, starts a new recording, such as the next drive."""

MAX_PAIR = 1.0
"""A pair may span frames without motion, but at most this many seconds: light changes, people come and go."""

ANOTHER_CAMERA = "another camera or image size"


def find_sequences(
    stamps: NDArray[np.int64],
    camera_numbers: NDArray[np.int32],
    cameras: Sequence[CameraIdentity],
    verdicts: NDArray[np.int8],
    longest_gap: float | None,
) -> tuple[list[NDArray[np.int64]], Counter[str]]:
    """Cut a recording where frames are missing, time jumps, or the camera changes.

    Args:
        stamps: stamps of all N frames of the recording, ``(N,)`` ns.
        camera_numbers: index of each frame's camera, ``(N,)``.
        cameras: all cameras of the recording.
        verdicts: verdict on each frame, ``(N,)``; KEPT frames are used.
        longest_gap: in seconds; None uses three times the camera's usual interval.

    Returns:
        The numbers of the kept frames, one array for each sequence, in order; and the number of cuts by reason.
    """
    usable = verdicts == FrameVerdict.KEPT
    # Duplicate and static frames do not count as a gap: the camera was delivering images.
    present = usable | (verdicts == FrameVerdict.DUPLICATE) | (verdicts == FrameVerdict.STATIC)
    gap = longest_gap * 1e9 if longest_gap else GAP_IN_INTERVALS * usual_interval(stamps[camera_numbers != NO_CAMERA])
    sequences: list[list[int]] = []
    cuts: Counter[str] = Counter()
    cut: str | None = "start"
    previous = last_usable = -1
    for number in np.flatnonzero(present).tolist():
        if previous >= 0:
            both = cameras[camera_numbers[previous]], cameras[camera_numbers[number]]
            cut = _reason_to_cut(*both, int(stamps[number] - stamps[previous]), gap) or cut
        previous = number
        if not usable[number]:
            continue
        if cut is None:
            cut = _reason_to_cut_rest(int(stamps[number] - stamps[last_usable]), gap)
        if cut is None:
            sequences[-1].append(number)
        else:
            if sequences:
                cuts[cut] += 1
            sequences.append([number])
        cut, last_usable = None, number
    return [np.array(sequence, np.int64) for sequence in sequences], cuts


def _reason_to_cut(before: CameraIdentity, after: CameraIdentity, step: int, gap: float) -> str | None:
    """Return why two consecutive frames, ``step`` ns apart, do not belong to the same sequence, or ``None``."""
    if before._replace(shot=0) != after._replace(shot=0):
        return ANOTHER_CAMERA
    if before.shot != after.shot:
        return "the view changes at once"
    if step <= 0:
        return "time jumps back"
    return f"gap of more than {gap / 1e9:.3g} s" if step > gap else None


def _reason_to_cut_rest(step: int, gap: float) -> str | None:
    """Return why two kept frames, ``step`` ns apart with only static ones between, form no pair, or ``None``."""
    longest = max(MAX_PAIR * 1e9, gap)
    return f"nothing moved for more than {longest / 1e9:.3g} s" if step > longest else None


def usual_interval(stamps: NDArray[np.int64]) -> float:
    """Return the median time between frames in ns, ignoring jumps back; 0 for fewer than two frames."""
    steps = np.diff(stamps)
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else 0.0


class RecordedPairs(Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Pairs of frames (earlier, later), each ``(H, W, 3)`` uint8 RGB, both of one camera and size.

    Sizes may differ between pairs if a recording has several cameras. The images are read from the cache at each
    access; instances can be pickled to the workers of a data loader.

    Args:
        folder: the cache's folder of images.
        stamps: stamps of all frames of the recording, ``(N,)`` ns.
        numbers: ``(P, 2)``, the frame numbers of each pair.
        recordings: ``(P,)``, the name of each pair's recording; None if the names are not needed.
    """

    def __init__(
        self,
        folder: Path,
        stamps: NDArray[np.int64],
        numbers: NDArray[np.int64],
        recordings: Sequence[str] | None = None,
    ) -> None:
        self._folder = folder
        self.numbers = numbers
        self.stamps = stamps[numbers]
        self.recordings = np.array(recordings if recordings is not None else [""] * len(numbers), object)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # type: ignore[override]
        first, second = self.numbers[position]
        return read_image(self._folder, first), read_image(self._folder, second)

    def select(self, positions: NDArray[np.int64] | Sequence[int]) -> RecordedPairs:
        """Return the pairs at these positions."""
        selected = copy.copy(self)
        chosen = np.asarray(positions, np.int64)
        selected.numbers, selected.stamps = self.numbers[chosen], self.stamps[chosen]
        selected.recordings = self.recordings[chosen]
        return selected


def pair_up(sequences: list[NDArray[np.int64]], strides: Sequence[int]) -> NDArray[np.int64]:
    """Return frame numbers ``(P, 2)``: for each stride, every frame and the one a stride later in its sequence."""
    pairs = [
        np.stack([sequence[:-stride], sequence[stride:]], axis=1)
        for sequence in sequences
        for stride in strides
        if len(sequence) > stride
    ]
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def find_recordings(
    sequences: list[NDArray[np.int64]],
    stamps: NDArray[np.int64],
    camera_numbers: NDArray[np.int32],
    cameras: Sequence[CameraIdentity],
) -> dict[str, list[NDArray[np.int64]]]:
    """Group sequences into recordings, by name.

    A new recording starts with another topic, video or folder, and where time jumps forward by more than a minute or
    back by more than a second. Single frames, which make no pair, are left out: the stamp of one may be far off.
    """
    groups: list[tuple[str, list[NDArray[np.int64]]]] = []
    for sequence in sequences:
        if len(sequence) < 2:
            continue
        stream = cameras[camera_numbers[sequence[0]]].stream
        if groups:
            before = groups[-1]
            step = (stamps[sequence[0]] - stamps[before[1][-1][-1]]) / 1e9
            if before[0] == stream and -RECORDING_JUMP_BACK <= step <= RECORDING_GAP:
                before[1].append(sequence)
                continue
        groups.append((stream, [sequence]))
    return {f"{number}: {stream}": group for number, (stream, group) in enumerate(groups, 1)}


def split_by_time(
    sequences: list[NDArray[np.int64]], held_out_share: float
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Split the sequences of one recording into (training, held out); its last frames are held out."""
    frames = np.concatenate(sequences) if sequences else np.zeros(0, np.int64)
    first_held_out = len(frames) - round(held_out_share * len(frames))
    border = frames[first_held_out] if first_held_out < len(frames) else np.iinfo(np.int64).max
    training = [sequence[sequence < border] for sequence in sequences]
    held_out = [sequence[sequence >= border] for sequence in sequences]
    return [part for part in training if part.size], [part for part in held_out if part.size]
