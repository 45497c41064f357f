# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's rays, and calibrations that are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.matches import match

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
        (50.0, [0.1, 0.0, 0.0, 0.0, 0.1], "equidistant", "D of camera_info has 5 values.*'equidistant' takes 4: "),
        (50.0, [0.1, 0.0, 0.0, 0.0], "swirl", "unknown distortion model 'swirl'"),
    ],
)
def test_what_is_wrong_with_a_calibration_is_said(focal_length, distortion, model, message) -> None:
    intrinsics = np.array([[focal_length, 0.0, 31.5], [0.0, focal_length, 23.5], [0.0, 0.0, 1.0]])
    with pytest.raises(BadCalibration, match=message):
        Camera(SIZE, intrinsics, np.array(distortion), model)


@pytest.mark.parametrize("model", ["none", "None", "pinhole", "Plumb_Bob", "plumb_bob "])
def test_without_coefficients_the_name_of_the_model_does_not_matter(model: str) -> None:
    assert ray(Camera(SIZE, INTRINSICS, np.zeros(5), model), 61.5, 23.5) == pytest.approx([0.6, 0], abs=1e-6)


@pytest.mark.parametrize("model", ["equidistant", "fisheye", "Kannala_Brandt4"])
def test_a_coefficient_of_zero_that_the_model_does_not_have_is_left_out(model: str) -> None:
    # RealSense's T265 publishes five.
    coefficients = np.array([-0.01, 0.04, -0.04, 0.006, 0.0])
    exact = Camera(SIZE, INTRINSICS, coefficients[:4], "equidistant")
    assert ray(Camera(SIZE, INTRINSICS, coefficients, model), 61.5, 20.5) == pytest.approx(ray(exact, 61.5, 20.5))


def test_the_corners_of_a_distorting_lens_are_exact() -> None:
    # KITTI's left color camera.
    intrinsics = np.array([[959.8, 0.0, 696.0], [0.0, 956.9, 224.2], [0.0, 0.0, 1.0]])
    distortion = np.array([-0.3691, 0.1968, 0.00135, 0.00057, -0.0677])
    camera = Camera(Size(1392, 512), intrinsics, distortion, "plumb_bob")
    corners = np.array([[[0, 0], [1391, 0]], [[0, 511], [1391, 511]]], np.float32)
    rays = camera.rays(corners).reshape(-1, 2).astype(float)
    points = np.column_stack((rays, np.ones(4)))
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), intrinsics, distortion)
    np.testing.assert_allclose(pixels.reshape(-1, 2), corners.reshape(-1, 2), atol=0.01)


def test_rays_far_off_the_axis_are_unknown() -> None:
    # The angle of a ray in radians is its distance to the center over 50 pixels.
    size, intrinsics = Size(257, 9), np.array([[FOCAL_LENGTH, 0.0, 128.0], [0.0, FOCAL_LENGTH, 4.0], [0.0, 0.0, 1.0]])
    camera = Camera(size, intrinsics, np.zeros(4), "equidistant")
    degrees = np.rad2deg(np.abs(np.arange(257) - 128) / FOCAL_LENGTH)
    row = np.stack(np.meshgrid(np.arange(257), [4]), axis=-1).astype(np.float32)
    known = np.isfinite(camera.rays(row)[0]).all(axis=-1)
    assert known[degrees < 69].all() and not known[degrees > 71].any()


def test_a_pixel_spans_more_of_the_plane_off_the_axis_of_a_fisheye_lens() -> None:
    size, intrinsics = Size(257, 33), np.array([[FOCAL_LENGTH * 2, 0, 128], [0, FOCAL_LENGTH * 2, 16], [0, 0, 1.0]])
    camera = Camera(size, intrinsics, np.zeros(4), "equidistant")
    pixels = np.array([[[128, 16], [228, 16], [20, 16], [300, 16]]], np.float32)
    angles = np.array([0, 1.0, 1.08])
    # The tangent of an angle grows by 1 / cos**2 of it.
    np.testing.assert_allclose(camera.pixel_spans(pixels)[0], [*(0.01 / np.cos(angles) ** 2), np.nan], rtol=0.02)
    pinhole = Camera(size, intrinsics, np.zeros(0))
    np.testing.assert_allclose(pinhole.pixel_spans(pixels), 0.01)
    # The flow's noise counts by the shorter focal length, as of a camera that bins columns alone.
    binned = Camera(size, np.diag([FOCAL_LENGTH, FOCAL_LENGTH * 2, 1.0]), np.zeros(0))
    np.testing.assert_allclose(binned.pixel_spans(pixels), 0.02)


def test_pixels_that_no_ray_leads_to_are_unknown() -> None:
    # So strong a distortion folds the image over itself in the corners.
    intrinsics = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
    camera = Camera(Size(640, 480), intrinsics, np.array([-0.4, 0, 0, 0, 0]), "plumb_bob")
    pixels = np.stack(np.meshgrid(np.arange(640), np.arange(480)), axis=-1).astype(np.float32)
    rays = camera.rays(pixels)
    known = np.isfinite(rays).all(axis=-1)
    assert known[240, 40:600].all() and not known[0, 0] and 0.7 < known.mean() < 0.95
    points = np.column_stack((rays[known].astype(float), np.ones(known.sum())))
    back, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), intrinsics, camera.distortion)
    np.testing.assert_allclose(back[:, 0], pixels[known], atol=0.11)


@pytest.mark.parametrize("distortion", [[], [-0.1, 0.01, 0.0, 0.0]])
def test_flow_that_is_masked_is_no_match(distortion: list[float]) -> None:
    flow, confidence = np.zeros((48, 64, 2), np.float32), np.full((48, 64), 0.9, np.float32)
    flow[10:20, 10:20] = np.nan
    matches = match(flow, confidence, Camera(SIZE, INTRINSICS, np.array(distortion), "plumb_bob"), 1)
    usable = matches.usable(0.5)
    assert not usable[10:20, 10:20].any() and usable[20:40, 20:40].all()
    assert np.isfinite(matches.sigma[usable]).all()
