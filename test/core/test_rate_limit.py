# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from mdflow_ros.core.rate_limit import RateLimit

MILLISECOND = 1_000_000


def accepted(stamps_ms: list[float], max_rate: float) -> list[float]:
    limit = RateLimit()
    return [stamp for stamp in stamps_ms if limit.accepts(round(stamp * MILLISECOND), max_rate)]


def test_every_third_image_of_a_jittering_camera():
    stamps = [1000, 1033, 1067, 1098, 1133, 1167, 1199]
    assert accepted(stamps, 10.0) == [1000, 1098, 1199]


def test_zero_is_no_limit():
    assert accepted([1000, 1001, 1002], 0.0) == [1000, 1001, 1002]


def test_a_stamp_that_does_not_go_forward_is_left_to_the_pairing():
    assert accepted([1000, 1000, 900, 950, 1000], 10.0) == [1000, 1000, 900, 1000]
