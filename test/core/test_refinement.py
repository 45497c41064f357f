# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from mdflow_ros.core.refinement import MAX_CHANGE, MAX_SIZES, FlowRefiner


def smooth_pair(right: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (20, 28), np.uint8)
    image = cv2.resize(noise, (224, 160), interpolation=cv2.INTER_CUBIC)
    return image[16:144, 16:208], image[16 - down : 144 - down, 16 - right : 208 - right]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_refinement_moves_a_flow_towards_the_truth(scale: float) -> None:
    first, second = smooth_pair(right=3, down=-2)
    ground_truth = np.array([3.0, -2.0], np.float32) * scale
    start = np.full((int(128 * scale), int(192 * scale), 2), ground_truth + 0.4 * scale, np.float32)
    refined = FlowRefiner().refine(first, second, start, ((0.5, 3),))
    assert refined.shape == start.shape and refined.dtype == np.float32
    assert np.abs(refined - ground_truth).mean() < 0.75 * np.abs(start - ground_truth).mean()


def test_a_pixel_is_half_regained_at_once_and_light_moves_nothing() -> None:
    first, second = smooth_pair(right=1, down=0)
    still, inner = np.zeros((128, 192, 2), np.float32), (slice(16, -16), slice(16, -16))
    regained = FlowRefiner().refine(first, second, still, ((1.0, 2),))[inner]
    assert 0.5 < np.median(regained[..., 0]) < 1
    shaded = np.clip(0.8 * first + np.linspace(-30, 30, 192), 0, 255).astype(np.uint8)
    moved = FlowRefiner().refine(first, shaded, still, ((1.0, 2),))[inner]
    assert np.linalg.norm(moved, axis=-1).max() < 0.1


def test_refinement_is_finite_and_bounded_on_unrelated_images() -> None:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 65, 97), np.uint8)
    flow = np.random.default_rng(1).normal(0, 30, (65, 97, 2)).astype(np.float32)
    refined = FlowRefiner().refine(first, second, flow, ((0.5, 2),))
    assert np.isfinite(refined).all() and np.abs(refined - flow).max() <= MAX_CHANGE + 1e-3


def test_no_rounds_change_nothing() -> None:
    first = second = np.zeros((64, 64), np.uint8)
    flow = np.ones((64, 64, 2), np.float32)
    assert FlowRefiner().refine(first, second, flow, ()) is flow


def test_what_was_refined_before_does_not_matter() -> None:
    refiner = FlowRefiner()
    for number, height in enumerate((64, 96, 64, *range(100, 100 + 2 * MAX_SIZES, 2))):
        first, second = (image[:height] for image in smooth_pair(right=number % 3, down=number % 2))
        flow = np.full((height, 192, 2), 0.5 * number, np.float32)
        refined = refiner.refine(first, second, flow, ((0.5, 2),))
        np.testing.assert_array_equal(refined, FlowRefiner().refine(first, second, flow, ((0.5, 2),)))
    assert len(refiner._solvers) == MAX_SIZES
