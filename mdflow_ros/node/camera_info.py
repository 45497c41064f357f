# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compute the calibration of a published image from the camera's CameraInfo.

A CameraInfo describes the full sensor: K, P, width and height are those of the calibrated resolution, `roi` is the part
of the sensor that was read, and `binning` says how many sensor pixels make one image pixel (REP 104 and the comments of
sensor_msgs/CameraInfo.msg).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.core.region import Region
from mdflow_ros.core.resizing import Size

MAX_STRETCH = 0.03
"""If the aspect ratio of an image differs from the calibrated one by at most this share, the image is taken to be
resized without a new calibration: sides are rounded, and some encoders need multiples of 16."""

CENTRAL, NOT_CENTRAL = 0.1, 0.2
"""The principal point counts as central if it is closer to the image's center than the first share of each side, and as
not central if it is farther than the second."""


class _Window(NamedTuple):
    """Where the image is on the calibrated sensor, and how many sensor pixels make one image pixel."""

    x: float
    y: float
    step_x: float
    step_y: float


def camera_info_topic(image_topic: str) -> str:
    """Return the camera_info topic next to an image topic, or next to the raw topic of a compressed one."""
    base = image_topic.removesuffix("/compressed")
    return base.rpartition("/")[0] + "/camera_info"


def calibration_of_image(info: CameraInfo, image_size: Size) -> CameraInfo:
    """Return the calibration of an image as the camera published it, with neither binning nor a region of interest.

    Its K and P are those of the image's pixels, scaled as image_geometry does. Distortion and rotation do not depend
    on the size.

    Args:
        info: the calibration as the camera published it.
        image_size: width and height of the image.

    Raises:
        BadCalibration: the image has another aspect ratio than the calibration: it was cropped or rotated, or is from
            another camera; or K is already that of the image, although the size is that of the sensor.
    """
    window = _window(info, image_size)
    _check_center(info, image_size, window)
    return _adjusted(info, image_size, window.x, window.y, 1 / window.step_x, 1 / window.step_y)


def cropped_camera_info(info: CameraInfo, region: Region) -> CameraInfo:
    """Return the calibration of the part ``region`` of an image with the calibration ``info``."""
    return _adjusted(info, Size(region.width, region.height), region.x, region.y)


def pinhole_camera_info(header: Header, size: Size, matrix: NDArray[np.float64]) -> CameraInfo:
    """Return the calibration of a camera without distortion; ``matrix`` ``(3, 3)`` are its intrinsics, pixels."""
    info = CameraInfo(header=header, width=size.width, height=size.height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k[:], info.r[:] = matrix.ravel(), np.eye(3).ravel()
    info.p[:] = np.hstack((matrix, np.zeros((3, 1)))).ravel()
    return info


def rectified_camera_info(info: CameraInfo, projection: NDArray[np.float64]) -> CameraInfo:
    """Return the calibration of a rectified image, which has neither distortion nor rotation.

    Args:
        info: the calibration before rectification.
        projection: ``(3, 3)`` intrinsics of the rectified image.
    """
    rectified = pinhole_camera_info(info.header, Size(info.width, info.height), projection)
    rectified.p[3::4] = info.p[3::4]  # the baseline of a stereo camera
    return rectified


def resized_camera_info(info: CameraInfo, header: Header, size: Size) -> CameraInfo:
    """Return the calibration, with ``header``, of an image that had the calibration ``info`` before it was resized.

    As in cv2.resize, the corners of the image stay in place, not the centers of its corner pixels.
    """
    across, down = size.width / info.width, size.height / info.height
    resized = _adjusted(info, size, 0.5 / across - 0.5, 0.5 / down - 0.5, across, down)
    resized.header = header
    return resized


def _adjusted(info: CameraInfo, size: Size, x: float, y: float, across: float = 1.0, down: float = 1.0) -> CameraInfo:
    """Move the origin of the image to ``(x, y)``, then scale it."""
    adjusted = CameraInfo(header=info.header, distortion_model=info.distortion_model, d=info.d, r=info.r)
    adjusted.width, adjusted.height = size
    adjusted.k = _adjusted_matrix(info.k, 3, (x, y), across, down)
    adjusted.p = _adjusted_matrix(info.p, 4, (x, y), across, down)
    return adjusted


def _adjusted_matrix(
    values: NDArray[np.float64], columns: int, origin: tuple[float, float], across: float, down: float
) -> NDArray[np.float64]:
    matrix = np.array(values, np.float64).reshape(3, columns)
    if not matrix.any():  # all zeros: not calibrated
        return matrix.ravel()
    with np.errstate(all="ignore"):  # drivers send infinity and NaN, too
        matrix[:2, 2] -= origin
        matrix[0] *= across
        matrix[1] *= down
    return matrix.ravel()


def _window(info: CameraInfo, image_size: Size) -> _Window:
    """Return the window that explains the size of the image.

    Some drivers fill `roi` or `binning` although the image has neither, so values that do not fit the size are ignored.
    If no combination fits, the image was resized without a new calibration.
    """
    full = info.width or image_size[0], info.height or image_size[1]
    everything = (0, 0, *full)
    roi = info.roi
    part = (roi.x_offset, roi.y_offset, roi.width or full[0], roi.height or full[1])
    binning = max(1, info.binning_x), max(1, info.binning_y)
    for x, y, width, height in (part, everything):
        for step_x, step_y in (binning, (1, 1)):
            if _fits(width, step_x, image_size[0]) and _fits(height, step_y, image_size[1]):
                return _Window(x, y, step_x, step_y)
    x, y, width, height = part
    stretch = width * image_size.height / (height * image_size.width)
    if abs(stretch - 1) > MAX_STRETCH:
        raise BadCalibration(
            f"camera_info describes {width}x{height} pixels, which no binning, region or resizing turns into the "
            f"image's {image_size.width}x{image_size.height}: publish the calibration of these images"
        )
    return _Window(x, y, width / image_size[0], height / image_size[1])


def _check_center(info: CameraInfo, image_size: Size, window: _Window) -> None:
    """Raise BadCalibration if the principal point is the image's center before K is scaled, and far from it after."""
    given = np.array((info.k[2], info.k[5]))
    scaled = (given - (window.x, window.y)) / (window.step_x, window.step_y)
    before, after = (np.abs(point / image_size - 0.5) for point in (given, scaled))
    if given.any() and (before < CENTRAL).all() and (after > NOT_CENTRAL).all():
        raise BadCalibration(
            f"K of camera_info is that of the image of {image_size.width}x{image_size.height}, but its width and "
            f"height are {info.width}x{info.height}: publish K of the full sensor, or the image's width and height "
            "without binning"
        )


def _fits(sensor_side: int, step: int, image_side: int) -> bool:
    return image_side in (sensor_side // step, -(-sensor_side // step))
