# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The calibration that belongs to a published image, from the one that the camera publishes.

A CameraInfo describes the full sensor: K, P, width and height are those of the calibrated resolution, `roi` is the part
of it that was read, and `binning` says how many of its pixels make one pixel of the image (REP 104 and the comments of
sensor_msgs/CameraInfo.msg).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mdflow_ros.core.resizing import Size


class _Window(NamedTuple):
    """Where the image lies on the calibrated sensor, and how many sensor pixels make one image pixel."""

    x: float
    y: float
    step_x: float
    step_y: float


def published_camera_info(info: CameraInfo, header: Header, image_size: Size, published_size: Size) -> CameraInfo:
    """Return the calibration of an image that was resized to ``published_size``, under ``header``.

    The result has neither binning nor a region of interest: its K and P are those of the published pixels, scaled as
    image_geometry does. Distortion and rotation do not depend on the size.

    Args:
        info: the calibration as the camera published it.
        header: header of the result.
        image_size: width and height of the camera's image.
        published_size: width and height of the published image.
    """
    window = _window(info, image_size)
    published = CameraInfo(header=header, distortion_model=info.distortion_model, d=info.d, r=info.r)
    published.width, published.height = published_size
    across = published_size[0] / image_size[0] / window.step_x
    down = published_size[1] / image_size[1] / window.step_y
    published.k = _adjusted(info.k, 3, window, across, down)
    published.p = _adjusted(info.p, 4, window, across, down)
    return published


def _adjusted(values: np.ndarray, columns: int, window: _Window, across: float, down: float) -> np.ndarray:
    matrix = np.array(values, np.float64).reshape(3, columns)
    if not matrix.any():  # all zeros: not calibrated
        return matrix.ravel()
    with np.errstate(all="ignore"):  # whatever a driver sends
        matrix[:2, 2] -= window.x, window.y
        matrix[0] *= across
        matrix[1] *= down
    return matrix.ravel()


def _window(info: CameraInfo, image_size: Size) -> _Window:
    """Return the window that explains the size of the image.

    Some drivers fill `roi` or `binning` although the image has neither, so what does not fit the size is ignored. An
    image that fits no reading was resized without a new calibration.
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
    return _Window(x, y, width / image_size[0], height / image_size[1])


def _fits(sensor_side: int, step: int, image_side: int) -> bool:
    return image_side in (sensor_side // step, -(-sensor_side // step))
