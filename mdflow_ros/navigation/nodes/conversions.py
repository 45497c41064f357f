# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert calibrations to cameras and back, and arrays to point clouds."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.node.camera_info import pinhole_camera_info


def camera_of(info: CameraInfo, rectified: bool) -> Camera:
    """Return the camera that a calibration describes.

    Args:
        info: of images of the flow's size.
        rectified: whether the images are rectified: then P is used, without distortion. If P is empty, K is used,
            provided that there is no distortion.

    Raises:
        BadCalibration: the calibration is missing, or its distortion model is unknown.
    """
    size = Size(info.width, info.height)
    projection, matrix = np.array(info.p, float).reshape(3, 4)[:, :3], np.array(info.k, float).reshape(3, 3)
    if rectified and projection.any():
        return Camera(size, projection, np.zeros(0))
    if rectified and any(info.d):
        raise BadCalibration(
            "rectified is true, but P of camera_info is empty: subscribe to the camera_info of the rectified images"
        )
    if not matrix.any():
        raise BadCalibration("K of camera_info is empty: calibrate the camera, or make its driver publish K")
    # Rectified images have no distortion model: a fisheye model changes rays even without coefficients.
    return Camera(size, matrix, np.array(info.d, float), "" if rectified else info.distortion_model)


def coarse_camera_info(camera: Camera, header: Header, stride: int) -> CameraInfo:
    """Return the calibration of an undistorted image with every ``stride``-th pixel of the camera's image."""
    width, height = -(-camera.size[0] // stride), -(-camera.size[1] // stride)
    matrix = camera.intrinsics.copy()
    matrix[:2] /= stride
    return pinhole_camera_info(header, Size(width, height), matrix)


def point_cloud(header: Header, names: tuple[str, ...], values: NDArray[np.float32]) -> PointCloud2:
    """Return a cloud with float32 fields.

    Args:
        header: of the message.
        names: of the fields.
        values: ``(N, len(names))`` float32, finite.
    """
    message = PointCloud2(header=header, height=1, width=len(values), is_dense=True, is_bigendian=False)
    message.fields = [
        PointField(name=name, offset=4 * number, datatype=PointField.FLOAT32, count=1)
        for number, name in enumerate(names)
    ]
    message.point_step, message.row_step = 4 * len(names), 4 * len(names) * len(values)
    # The setter takes an array.array as it is, but checks anything else value by value.
    data = array("B")
    data.frombytes(np.ascontiguousarray(values, np.float32).tobytes())
    message.data = data
    return message
