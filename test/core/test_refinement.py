# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from shifted_images import shifted_pair

from mdflow_ros.core.refinement import MAX_CHANGE, refine_flow


def smooth_pair(right: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 3), np.uint8)
    image = cv2.resize(noise, (224, 160), interpolation=cv2.INTER_CUBIC)
    return image[16:144, 16:208], image[16 - down : 144 - down, 16 - right : 208 - right]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_refinement_moves_a_flow_towards_the_truth(scale: float) -> None:
    first, second = smooth_pair(right=3, down=-2)
    truth = np.array([3.0, -2.0], np.float32) * scale
    start = np.full((int(128 * scale), int(192 * scale), 2), truth + 0.4 * scale, np.float32)
    refined = refine_flow(first, second, start)
    assert refined.shape == start.shape and refined.dtype == np.float32
    assert np.abs(refined - truth).mean() < 0.75 * np.abs(start - truth).mean()


def test_refinement_is_finite_and_bounded_on_unrelated_images() -> None:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 65, 97, 3), np.uint8)
    flow = np.random.default_rng(1).normal(0, 30, (65, 97, 2)).astype(np.float32)
    refined = refine_flow(first, second, flow)
    assert np.isfinite(refined).all() and np.abs(refined - flow).max() <= MAX_CHANGE + 1e-3


def test_no_rounds_change_nothing() -> None:
    first, second = shifted_pair(64, 64, right=1, down=0)
    flow = np.ones((64, 64, 2), np.float32)
    assert refine_flow(first, second, flow, rounds=0) is flow
