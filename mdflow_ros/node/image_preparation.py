# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Prepare the image that flow is estimated on, and its calibration: decode the message, rectify and crop."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mdflow_ros.core.frame_pairing import CameraFrame
from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.core.rectification import BadCalibration, Rectifier
from mdflow_ros.core.region import Region, crop
from mdflow_ros.core.resizing import Size, size_of
from mdflow_ros.node.camera_info import calibration_of_image, cropped_camera_info, rectified_camera_info
from mdflow_ros.node.messages import to_frame

logger = logging.getLogger(__name__)


class ImagePreparation:
    """Prepares the images of one camera.

    Args:
        intensity_range: for images with more than 8 bits, see `IntensityStretch`.
        rectify: whether to undo lens distortion.
        region: part of the image, rectified or not, that is used; ``None`` for all of it.
    """

    def __init__(
        self, intensity_range: IntensityRange = "auto", rectify: bool = False, region: Region | None = None
    ) -> None:
        self._stretch = IntensityStretch(intensity_range, None if rectify else region)
        self._rectify, self._region = rectify, region
        self._rectifier: tuple[object, Rectifier] | None = None
        self._ideal_camera: bytes | None = None
        self._calibration_changes = 0
        self.calibration_error = ""
        """Why the calibration of the last image was ignored; empty if it was not."""

    def prepare(
        self, message: Image | CompressedImage, max_pixels: int, camera_info: CameraInfo | None
    ) -> tuple[CameraFrame, CameraInfo | None]:
        """Return the frame, and the calibration of its image.

        Args:
            message: the image.
            max_pixels: larger images are refused before they are decoded.
            camera_info: the camera's last calibration; ``None`` if none was received.

        Raises:
            UnsupportedEncoding: neither this package nor cv_bridge, if installed, knows the encoding.
            CorruptImage: the message does not hold the image that it describes, or one with more than ``max_pixels``.
            BadCalibration: the image is to be rectified, and the calibration is missing or cannot be used.
            ValueError: the region is not within the image.
        """
        frame = to_frame(message, max_pixels, self._stretch)
        info = self._calibration(camera_info, size_of(frame.image))
        if self._rectify:
            frame, info = self._rectified(frame, info)
        if self._region is not None:
            frame = _cropped(frame, self._region)
            info = None if info is None else cropped_camera_info(info, self._region)
        return frame, info

    def _calibration(self, camera_info: CameraInfo | None, size: Size) -> CameraInfo | None:
        """Return the calibration of an image of ``size``; ``None``, with a warning, if ``camera_info`` does not fit."""
        if camera_info is None:
            return None
        try:
            info = calibration_of_image(camera_info, size)
        except BadCalibration as error:
            if self._rectify:
                raise
            if str(error) != self.calibration_error:
                self.calibration_error = str(error)
                logger.warning("camera_info is ignored: %s", error)
            return None
        self.calibration_error = ""
        return info

    def _rectified(self, frame: CameraFrame, info: CameraInfo | None) -> tuple[CameraFrame, CameraInfo]:
        if info is None:
            raise BadCalibration(
                "rectify is true, but no camera_info was received: remap camera_info to the camera's topic"
            )
        rectifier = self._rectifier_for(info)
        image = rectifier.rectify(frame.image)
        # If only the distortion changes, the ideal camera of the rectified images stays the same. A new R or P shifts
        # the images, so a new pair starts.
        ideal_camera = bytes(info.r) + rectifier.projection.tobytes()
        if ideal_camera != self._ideal_camera:
            self._ideal_camera = ideal_camera
            self._calibration_changes += 1
        frame = replace(
            frame, image=image, valid_mask=rectifier.valid_mask, calibration_changes=self._calibration_changes
        )
        return frame, rectified_camera_info(info, rectifier.projection)

    def _rectifier_for(self, info: CameraInfo) -> Rectifier:
        key = (
            info.width,
            info.height,
            bytes(info.k),
            tuple(info.d),
            bytes(info.r),
            bytes(info.p),
            info.distortion_model,
        )
        if self._rectifier is None or self._rectifier[0] != key:
            rectifier = Rectifier(
                size=Size(info.width, info.height),
                intrinsics=_matrix(info.k)[:, :3],
                distortion=np.array(info.d, np.float64),
                model=info.distortion_model,
                rotation=_matrix(info.r)[:, :3],
                projection=_matrix(info.p)[:, :3],
            )
            self._rectifier = (key, rectifier)
        return self._rectifier[1]


def _cropped(frame: CameraFrame, region: Region) -> CameraFrame:
    valid_mask = None if frame.valid_mask is None else crop(frame.valid_mask, region)
    return replace(frame, image=crop(frame.image, region), full_size=size_of(frame.image), valid_mask=valid_mask)


def _matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(3, -1)
