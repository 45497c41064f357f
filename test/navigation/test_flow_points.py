# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The most confident matches are exactly those of the fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdflow_ros.navigation.flow_points import flow_points


def fields(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    flow = random.normal(0, 5, (height, width, 2)).astype(np.float32)
    return flow, random.random((height, width)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_best_pixels_wherever_they_are(height: int, width: int, count: int, seed: int) -> None:
    flow, confidence = fields(height, width, seed)
    points = flow_points(flow, confidence, count, cell=1)
    best = np.sort(confidence.ravel())[::-1][:count]
    np.testing.assert_array_equal(points[:, 4], best)
    column, row = points[:, 0].astype(int), points[:, 1].astype(int)
    np.testing.assert_array_equal(confidence[row, column], best)
    np.testing.assert_array_equal(flow[row, column], points[:, 2:4])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 9), st.integers(0, 1000))
def test_one_best_pixel_per_cell(height: int, width: int, cell: int, seed: int) -> None:
    flow, confidence = fields(height, width, seed)
    points = flow_points(flow, confidence, 10_000, cell)
    expected = {
        (row // cell, column // cell): confidence[row // cell * cell :, column // cell * cell :][:cell, :cell].max()
        for row in range(height)
        for column in range(width)
    }
    got = {(int(y) // cell, int(x) // cell): value for x, y, _, _, value in points}
    assert got == pytest.approx(expected) and len(points) == len(expected)
    assert (np.diff(points[:, 4]) <= 0).all()


def test_masked_and_uncertain_pixels_are_left_out() -> None:
    flow, confidence = fields(16, 16, 0)
    confidence *= np.float32(0.99)
    confidence[0, 0], confidence[0, 1] = 1.0, 0.995
    flow[0, 0] = np.nan
    points = flow_points(flow, confidence, 5, cell=1, min_confidence=0.985)
    assert points[0, :2].tolist() == [1, 0] and (points[:, 4] >= np.float32(0.985)).all()
    assert flow_points(np.full_like(flow, np.nan), confidence, 5, cell=4).shape == (0, 5)
