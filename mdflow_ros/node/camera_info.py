# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Camera calibration of a resized image."""

from __future__ import annotations

from copy import deepcopy

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def scaled_camera_info(info: CameraInfo, header: Header, width: int, height: int) -> CameraInfo:
    """Return ``info`` for an image of ``width`` x ``height`` pixels, under ``header``.

    K, P and the region of interest scale per axis, as in image_proc's resize node; distortion and rotation do not
    depend on the size. An ``info`` without a size is taken to be of the published size already.
    """
    scaled = deepcopy(info)
    scaled.header = header
    across = width / info.width if info.width else 1.0
    down = height / info.height if info.height else 1.0
    scaled.width, scaled.height = width, height
    for matrix, columns in ((scaled.k, 3), (scaled.p, 4)):
        matrix[:columns] *= across
        matrix[columns : 2 * columns] *= down
    scaled.roi.x_offset, scaled.roi.width = round(info.roi.x_offset * across), round(info.roi.width * across)
    scaled.roi.y_offset, scaled.roi.height = round(info.roi.y_offset * down), round(info.roi.height * down)
    return scaled
