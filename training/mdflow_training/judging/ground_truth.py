# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find and check the ground truth of recorded pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mdflow_training.flow_files import Flow, known_pixels, read_flow
from mdflow_training.frames.sequences import RecordedPairs

GroundTruth = Callable[[int], Flow | None]
"""Returns the true flow of a pair by its index, ``(H, W, 2)`` pixels, NaN where unknown; None if there is none."""


def load_ground_truth(folder: Path, pairs: RecordedPairs) -> GroundTruth:
    """Return the ground truth of a folder: ``FIRST_SECOND.flo`` (or .png, .pfm), named by both frames' stamps in ns.

    All files are read once in advance, to find bad files before hours of training.

    Args:
        folder: folder of the files.
        pairs: pairs for which ground truth is looked up.

    Raises:
        ValueError: no pair has a file, or one is damaged, of another size than the frames, or contains no valid flow.
    """
    stamps = pairs.stamps

    def file_of(index: int) -> Path | None:
        first, second = stamps[index].tolist()
        files = (folder / f"{first}_{second}{suffix}" for suffix in (".flo", ".png", ".pfm"))
        return next((file for file in files if file.exists()), None)

    if not any(file_of(index) for index in range(len(stamps))):
        expected = "_".join(map(str, stamps[0].tolist())) if len(stamps) else "FIRST_SECOND"
        raise ValueError(
            f"{folder} has no ground truth of any held-out pair: name the files by the stamps of both frames, such as "
            f"{expected}.flo"
        )

    def read(index: int) -> Flow | None:
        file = file_of(index)
        if file is None:
            return None
        flow = read_flow(file)
        (height, width), (true_height, true_width) = pairs[index][0].shape[:2], flow.shape[:2]
        if (true_height, true_width) != (height, width):
            raise ValueError(
                f"{file} has {true_width}x{true_height} pixels, but its frames have {width}x{height}: use ground truth "
                "of the frames' size"
            )
        if not known_pixels(flow).any():
            raise ValueError(f"{file} contains no valid flow; delete it")
        return flow

    for index in range(len(stamps)):
        read(index)
    return read
