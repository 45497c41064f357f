# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The image that flow is estimated on, and the camera_info that describes it: rectified, cropped, resized."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mdflow_ros.core.rectification import FISHEYE, BadCalibration, checked_distortion
from mdflow_ros.core.region import Region
from mdflow_ros.core.resizing import Size
from mdflow_ros.node.camera_info import calibration_of_image, resized_camera_info
from mdflow_ros.node.image_preparation import ImagePreparation

WIDTH, HEIGHT = 320, 240
MODELS = {"plumb_bob": [-0.3, 0.1, 0.001, -0.002, 0.0], "equidistant": [0.02, -0.01, 0.003, 0.0]}


def camera_info(model: str = "plumb_bob") -> CameraInfo:
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model=model, d=MODELS[model])
    info.k = [200.0, 0.0, 155.0, 0.0, 205.0, 118.0, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [180.0, 0.0, 160.0, 0.0, 0.0, 182.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def image_message(image: np.ndarray) -> Image:
    height, width = image.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=width * 3)
    message.header.stamp.sec = 5
    message.data = image.tobytes()
    return message


def seen_through_lens(points: np.ndarray, info: CameraInfo) -> np.ndarray:
    """Return where the camera sees points ``(N, 3)``, pixels ``(N, 2)``."""
    project = cv2.fisheye.projectPoints if info.distortion_model == "equidistant" else cv2.projectPoints
    intrinsics = np.array(info.k).reshape(3, 3)
    pixels, _ = project(points[:, None], np.zeros(3), np.zeros(3), intrinsics, np.array(info.d))
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("region", [None, Region(40, 30, 224, 160)])
def test_a_point_is_where_the_published_calibration_says(model: str, region: Region | None) -> None:
    info, turned = camera_info(model), cv2.Rodrigues(np.array([0.02, -0.04, 0.1]))[0]
    info.r, info.p[3] = turned.ravel(), -18.0  # as the right camera of a stereo pair has them
    preparation = ImagePreparation(rectify=True, region=region)
    for point in np.array([[0.0, 0.0, 1.0], [0.3, 0.2, 1.0], [-0.35, 0.25, 1.0], [0.25, -0.3, 1.0]]):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        (x, y), *_ = seen_through_lens(point[None], info)
        cv2.circle(image, (round(x * 16), round(y * 16)), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
        frame, published = preparation.prepare(image_message(image), 10**6, info)
        assert published is not None and not any(published.d)
        assert published.p[3] == -18.0 and (published.r == np.eye(3).ravel()).all()
        assert (published.width, published.height) == frame.image.shape[1::-1]
        projected = np.array(published.p).reshape(3, 4)[:, :3] @ turned @ point
        brightness = frame.image[..., 0].astype(float)
        rows, columns = np.indices(brightness.shape)
        found = [(values * brightness).sum() / brightness.sum() for values in (columns, rows)]
        assert found == pytest.approx(projected[:2] / projected[2], abs=0.3)


def test_the_region_moves_the_principal_point_and_output_scale_scales_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame, info = ImagePreparation(region=Region(32, 16, 128, 96)).prepare(image_message(image), 10**6, camera_info())
    assert (frame.image == image[16:112, 32:160]).all()
    assert info is not None
    half = resized_camera_info(info, Header(frame_id="camera"), Size(64, 48))
    assert (half.width, half.height, half.header.frame_id) == (64, 48, "camera")
    # cv2.resize keeps the corners in place: the center (x + 0.5) / 2 - 0.5.
    assert list(half.k) == [100.0, 0.0, (155 - 32) / 2 - 0.25, 0.0, 102.5, (118 - 16) / 2 - 0.25, 0.0, 0.0, 1.0]
    assert list(half.p[:7]) == [90.0, 0.0, (160 - 32) / 2 - 0.25, 0.0, 0.0, 91.0, (120 - 16) / 2 - 0.25]
    assert list(half.d) == MODELS["plumb_bob"]


def test_the_region_is_one_of_the_image_where_the_camera_bins_its_pixels() -> None:
    info = camera_info()
    info.binning_x = info.binning_y = 2
    _, published = ImagePreparation(region=Region(16, 8, 64, 64)).prepare(
        image_message(np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)), 10**6, info
    )
    assert published is not None
    assert (published.k[0], published.k[2], published.k[5]) == (100.0, 155 / 2 - 16, 118 / 2 - 8)


def test_what_cannot_be_prepared_is_refused_with_the_way_out() -> None:
    message = image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(BadCalibration, match="no camera_info was received: remap"):
        ImagePreparation(rectify=True).prepare(message, 10**6, None)
    with pytest.raises(BadCalibration, match="focal lengths of camera_info are 0 and 0"):
        ImagePreparation(rectify=True).prepare(message, 10**6, CameraInfo(width=WIDTH, height=HEIGHT))
    unknown = camera_info()
    unknown.distortion_model = "swirl"
    with pytest.raises(BadCalibration, match=r"unknown distortion model 'swirl'.*set rectify to false"):
        ImagePreparation(rectify=True).prepare(message, 10**6, unknown)
    with pytest.raises(ValueError, match=r"not within the image of 320x240: change the parameter region"):
        ImagePreparation(region=Region(200, 0, 128, 64)).prepare(message, 10**6, None)


def published(info: CameraInfo, width: int, height: int) -> CameraInfo:
    result = ImagePreparation().prepare(image_message(np.zeros((height, width, 3), np.uint8)), 10**6, info)[1]
    assert result is not None
    assert (result.width, result.height, result.binning_x, result.roi.width) == (width, height, 0, 0)
    return result


def test_the_part_of_the_sensor_that_the_camera_read_moves_the_principal_point() -> None:
    info = camera_info()
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 40, 24, 200, 160
    of_part = published(info, 200, 160)
    assert (of_part.k[0], of_part.k[2], of_part.k[5]) == (200.0, 155 - 40, 118 - 24)
    assert (of_part.p[2], of_part.p[6]) == (160 - 40, 120 - 24)
    binned = camera_info()
    binned.roi, binned.binning_x, binned.binning_y = info.roi, 2, 2
    assert (published(binned, 100, 80).k[0], published(binned, 100, 80).k[2]) == (100.0, (155 - 40) / 2)


def test_a_sensor_with_an_odd_side_is_binned_by_whole_pixels() -> None:
    info = camera_info()
    info.width, info.binning_x, info.binning_y = 321, 2, 2
    for width in (160, 161):  # drivers round either way
        assert published(info, width, 120).k[0] == 100.0


def test_a_part_that_the_image_does_not_show_is_not_believed() -> None:
    info = camera_info()
    info.roi.x_offset, info.roi.width, info.roi.height = 40, 200, 160  # but the image is the whole sensor's
    assert published(info, WIDTH, HEIGHT).k[2] == 155.0


def test_an_image_that_was_resized_has_its_calibration_resized() -> None:
    resized = published(camera_info(), 480, 368)  # 360 to the next multiple of 16
    assert [resized.k[0], resized.k[2]] == pytest.approx([200 * 1.5, 155 * 1.5])
    assert [resized.k[4], resized.k[5]] == pytest.approx([205 * 368 / 240, 118 * 368 / 240])


def test_a_matrix_that_is_already_that_of_the_binned_image_is_refused() -> None:
    info = camera_info()
    info.width, info.height, info.binning_x, info.binning_y = 2 * WIDTH, 2 * HEIGHT, 2, 2
    with pytest.raises(BadCalibration, match=r"K of camera_info is that of the image of 320x240.*are 640x480: publish"):
        calibration_of_image(info, Size(WIDTH, HEIGHT))
    info.k *= 2
    assert calibration_of_image(info, Size(WIDTH, HEIGHT)).k[2] == 155.0


@pytest.mark.parametrize(
    ("name", "known"), [("radtan", "plumb_bob"), ("brown_conrady", "plumb_bob"), ("equi", FISHEYE)]
)
def test_names_of_other_tools_for_a_distortion_are_known(name: str, known: str) -> None:
    distortion = np.array([0.1, 0.01, 0.001, 0.001])
    assert checked_distortion(np.eye(3), distortion, name, "")[1] == known


def test_a_calibration_without_a_size_is_that_of_the_image() -> None:
    info = camera_info()
    info.width = info.height = 0
    assert list(published(info, WIDTH, HEIGHT).k) == list(info.k)


def test_a_new_calibration_of_the_same_ideal_camera_keeps_the_pair_and_another_camera_does_not() -> None:
    image, info = np.full((HEIGHT, WIDTH, 3), 99, np.uint8), camera_info()
    preparation = ImagePreparation(rectify=True)
    first, _ = preparation.prepare(image_message(image), 10**6, info)
    info.d = [-0.2, 0.1, 0.001, -0.002, 0.0]
    second, _ = preparation.prepare(image_message(image), 10**6, info)
    info.p[2] += 12
    third, _ = preparation.prepare(image_message(image), 10**6, info)
    info.r[:] = cv2.Rodrigues(np.array([0.0, 0.0, 0.1]))[0].ravel()
    fourth, _ = preparation.prepare(image_message(image), 10**6, info)
    assert first.calibration_changes == second.calibration_changes
    assert first.calibration_changes < third.calibration_changes < fourth.calibration_changes


def test_a_camera_without_rotation_and_projection_keeps_its_own() -> None:
    image, info = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), camera_info()
    info.d, info.r, info.p = [], np.zeros(9), np.zeros(12)
    info.header.frame_id = "camera"
    frame, published = ImagePreparation(rectify=True).prepare(image_message(image), 10**6, info)
    assert (frame.image == image).all() and frame.valid_mask is None
    assert published is not None and published.header == info.header
    assert list(published.k) == list(info.k) == list(np.reshape(published.p, (3, 4))[:, :3].ravel())


def test_what_the_camera_did_not_see_is_marked() -> None:
    image, info = np.full((HEIGHT, WIDTH, 3), 99, np.uint8), camera_info()
    info.p[0] = info.p[5] = 90.0  # zoomed out
    frame, _ = ImagePreparation(rectify=True, region=Region(0, 0, 160, HEIGHT)).prepare(
        image_message(image), 10**6, info
    )
    assert frame.valid_mask is not None and frame.valid_mask.shape == (HEIGHT, 160)
    assert (frame.image[frame.valid_mask] == 99).all() and 0.2 < frame.valid_mask.mean() < 0.6
    assert frame.image[~frame.valid_mask].mean() < 50


@pytest.mark.parametrize("field", ["r", "p"])
def test_a_rotation_or_projection_that_is_not_finite_is_refused(field: str) -> None:
    info = camera_info()
    getattr(info, field)[2] = np.nan
    with pytest.raises(BadCalibration, match="R or P of camera_info holds a value that is not finite"):
        ImagePreparation(rectify=True).prepare(image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), 10**6, info)


@pytest.mark.parametrize(("height", "width"), [(WIDTH, HEIGHT), (240, 240)])
def test_a_calibration_of_another_shape_is_ignored_with_a_warning(
    height: int, width: int, caplog: pytest.LogCaptureFixture
) -> None:
    message = image_message(np.zeros((height, width, 3), np.uint8))
    preparation = ImagePreparation()
    for _ in range(2):
        assert preparation.prepare(message, 10**6, camera_info())[1] is None
    assert [record.message for record in caplog.records] == [
        f"camera_info is ignored: camera_info describes {WIDTH}x{HEIGHT} pixels, which no binning, region or resizing "
        f"turns into the image's {width}x{height}: publish the calibration of these images"
    ]
    assert caplog.records[0].message.endswith(preparation.calibration_error) and preparation.calibration_error
    preparation.prepare(image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), 10**6, camera_info())
    assert not preparation.calibration_error
    with pytest.raises(BadCalibration, match=f"camera_info describes {WIDTH}x{HEIGHT} pixels"):
        ImagePreparation(rectify=True).prepare(message, 10**6, camera_info())


def test_the_size_before_the_crop_is_kept() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame, _ = ImagePreparation(region=Region(0, 0, 64, 64)).prepare(image_message(image), 10**6, None)
    assert frame.full_size == Size(WIDTH, HEIGHT)
