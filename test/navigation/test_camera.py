# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's rays, and calibrations that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.camera import Camera

SIZE = Size(64, 48)
FOCAL_LENGTH = 50.0
INTRINSICS = np.array([[FOCAL_LENGTH, 0.0, 31.5], [0.0, FOCAL_LENGTH, 23.5], [0.0, 0.0, 1.0]])


def ray(camera: Camera, column: float, row: float) -> np.ndarray:
    return camera.rays(np.array([[[column, row]]], np.float32))[0, 0]


@pytest.mark.parametrize("distortion", [np.zeros(0), np.zeros(4)])
def test_a_fisheye_lens_without_coefficients_is_no_pinhole(distortion: np.ndarray) -> None:
    camera = Camera(SIZE, INTRINSICS, distortion, "equidistant")
    # The distance to the center, 30 px, is the focal length times the angle.
    assert ray(camera, 61.5, 23.5) == pytest.approx([np.tan(30 / FOCAL_LENGTH), 0], abs=1e-3)


@pytest.mark.parametrize("distortion", [np.zeros(0), np.zeros(3), np.zeros(5)])
def test_without_distortion_a_ray_is_the_tangent(distortion: np.ndarray) -> None:
    assert ray(Camera(SIZE, INTRINSICS, distortion, "plumb_bob"), 61.5, 23.5) == pytest.approx([0.6, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("focal_length", "distortion", "model", "message"),
    [
        (0.0, [], "", "the focal lengths of camera_info are 0 and 0"),
        (np.nan, [], "", "a value that is not finite"),
        (50.0, [0.1, np.nan, 0.0, 0.0], "plumb_bob", "a value that is not finite"),
        (50.0, [0.1, 0.0, 0.0], "plumb_bob", "D of camera_info has 3 values.*'plumb_bob' takes 4 or 5 or 8"),
        (50.0, [0.1, 0.0, 0.0, 0.0, 0.0], "equidistant", "D of camera_info has 5 values.*'equidistant' takes 4: "),
        (50.0, [0.1, 0.0, 0.0, 0.0], "swirl", "unknown distortion model 'swirl'"),
    ],
)
def test_what_is_wrong_with_a_calibration_is_said(focal_length, distortion, model, message) -> None:
    intrinsics = np.array([[focal_length, 0.0, 31.5], [0.0, focal_length, 23.5], [0.0, 0.0, 1.0]])
    with pytest.raises(BadCalibration, match=message):
        Camera(SIZE, intrinsics, np.array(distortion), model)
