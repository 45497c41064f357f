# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mdflow_ros.core.rate_limit import RateLimit

MILLISECOND = 1_000_000


def accepted(stamps_ms: list[float], max_rate: float) -> list[float]:
    limit = RateLimit()
    return [stamp for stamp in stamps_ms if limit.accepts(round(stamp * MILLISECOND), max_rate)]


def jittering(rate: float, jitter_ms: float) -> list[float]:
    """Return the stamps of 10 seconds."""
    generator = np.random.default_rng(0)
    count = round(10 * rate)
    return list(1000 + np.arange(count) * 1000 / rate + generator.normal(0, jitter_ms, count))


def test_every_third_image_of_a_jittering_camera() -> None:
    stamps = [1000, 1033, 1067, 1098, 1133, 1167, 1199]
    assert accepted(stamps, 10.0) == [1000, 1098, 1199]


@pytest.mark.parametrize("jitter_ms", [0.0, 1.0, 3.0, 5.0])
def test_a_camera_at_the_maximum_rate_keeps_its_images(jitter_ms: float) -> None:
    assert len(accepted(jittering(30, jitter_ms), 30.0)) >= 296


@pytest.mark.parametrize("rate", [45.0, 50.0, 60.0, 120.0])
def test_a_faster_camera_is_slowed_down_to_the_maximum_rate(rate: float) -> None:
    assert len(accepted(jittering(rate, 1.0), 30.0)) == pytest.approx(300, abs=6)


def test_after_a_pause_there_is_no_burst() -> None:
    assert accepted([1000, 5000, 5010, 5020, 5030, 5110], 10.0) == [1000, 5000, 5110]


def test_a_raised_rate_holds_at_once() -> None:
    limit = RateLimit()
    assert limit.accepts(1000 * MILLISECOND, 0.1)
    assert limit.accepts(1100 * MILLISECOND, 10.0)


def test_zero_is_no_limit() -> None:
    assert accepted([1000, 1001, 1002], 0.0) == [1000, 1001, 1002]


def test_a_stamp_that_does_not_go_forward_is_left_to_the_pairing() -> None:
    assert accepted([1000, 1000, 900, 950, 1000], 10.0) == [1000, 1000, 900, 1000]
