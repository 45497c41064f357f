# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdflow_ros.core.frame_pairing import CameraFrame, FramePairer, ResetReason
from mdflow_ros.core.resizing import Size
from mdflow_ros.core.rolling_statistics import RollingStatistics
from mdflow_ros.core.stamps import NANOSECONDS

FIRST = CameraFrame(np.zeros((4, 6, 3), np.uint8), 10 * NANOSECONDS, "camera", "rgb8")
SECOND = replace(FIRST, stamp=FIRST.stamp + NANOSECONDS // 10)
SMALLER = np.zeros((3, 6, 3), np.uint8)


def counted(pairer: FramePairer) -> dict[ResetReason, int]:
    return {reason: count for reason, count in pairer.resets.items() if count}


def test_consecutive_frames_pair() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    assert pairer.push(FIRST) is None
    assert pairer.push(SECOND) is FIRST
    assert pairer.push(replace(SECOND, stamp=SECOND.stamp + 1)) is SECOND
    assert counted(pairer) == {ResetReason.FIRST_FRAME: 1}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (replace(SECOND, stamp=0), ResetReason.ZERO_STAMP),
        (replace(SECOND, stamp=FIRST.stamp), ResetReason.EQUAL_STAMP),
        (replace(SECOND, stamp=FIRST.stamp - 1), ResetReason.STAMP_WENT_BACK),
        (replace(SECOND, stamp=FIRST.stamp + NANOSECONDS // 2 + 1), ResetReason.GAP),
        (replace(SECOND, image=SMALLER), ResetReason.SIZE_CHANGED),
        (replace(SECOND, encoding="bgr8"), ResetReason.ENCODING_CHANGED),
        (replace(SECOND, full_size=Size(8, 8)), ResetReason.SIZE_CHANGED),
        (replace(SECOND, frame_id="other"), ResetReason.FRAME_ID_CHANGED),
        (replace(SECOND, range_changes=1), ResetReason.INTENSITY_RANGE_CHANGED),
        (replace(SECOND, calibration_changes=1), ResetReason.CALIBRATION_CHANGED),
    ],
)
def test_a_frame_starts_a_new_pair_for_a_counted_reason(frame: CameraFrame, reason: ResetReason) -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    pairer.push(FIRST)
    assert pairer.push(frame) is None
    assert counted(pairer) == {ResetReason.FIRST_FRAME: 1, reason: 1}


def test_the_longest_allowed_gap_still_pairs() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    pairer.push(FIRST)
    assert pairer.push(replace(FIRST, stamp=FIRST.stamp + NANOSECONDS // 2)) is FIRST


def test_pairs_continue_after_a_bag_loop() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    for frame in (FIRST, SECOND, FIRST):
        pairer.push(frame)
    assert pairer.push(SECOND) is FIRST


def test_a_frame_without_a_stamp_is_not_paired() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    pairer.push(replace(FIRST, stamp=0))
    early, next_one = (replace(FIRST, stamp=stamp) for stamp in (1, 2))  # simulated time begins at 0
    assert pairer.push(early) is None and pairer.last_reason is ResetReason.FIRST_FRAME
    assert pairer.push(next_one) is early


def test_reset_forgets_the_last_frame() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    pairer.push(FIRST)
    pairer.reset()
    assert pairer.push(SECOND) is None


def test_consecutive_resets_are_counted_until_the_next_pair() -> None:
    pairer = FramePairer(max_frame_gap=0.5)
    for number in range(4):
        image = (SMALLER, FIRST.image)[number % 2]
        pairer.push(replace(FIRST, image=image, stamp=FIRST.stamp + number))
    assert (pairer.consecutive_resets, pairer.last_reason) == (4, ResetReason.SIZE_CHANGED)
    pairer.push(replace(FIRST, stamp=FIRST.stamp + 9))
    assert pairer.consecutive_resets == 0


def test_every_reason_has_advice() -> None:
    assert all(reason.advice for reason in ResetReason)


def test_statistics_of_the_last_seconds() -> None:
    statistics = RollingStatistics(window=2.0)
    assert statistics.summary(now=0.0) is None
    for second in range(5):
        statistics.add(float(second), now=float(second))
    summary = statistics.summary(now=4.0)
    assert summary is not None
    assert (summary.rate, summary.mean, summary.p95) == (1.0, 3.0, pytest.approx(3.9))
    assert statistics.summary(now=10.0) is None
