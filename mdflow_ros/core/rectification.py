# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Undo lens distortion, as image_proc does."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size, size_of

FISHEYE = "equidistant"
_PINHOLE_COUNTS = (4, 5, 8, 12, 14)
DISTORTION_MODELS = {
    "": _PINHOLE_COUNTS,
    "plumb_bob": _PINHOLE_COUNTS,
    "rational_polynomial": _PINHOLE_COUNTS,
    FISHEYE: (4,),
}
"""Distortion models of sensor_msgs/CameraInfo that this package knows, with the numbers of coefficients that OpenCV
accepts. The empty name means no distortion."""

OTHER_NAMES = {
    **dict.fromkeys(("fisheye", "kannala_brandt", "kannala_brandt4", "equi"), FISHEYE),
    **dict.fromkeys(("radtan", "brown_conrady"), "plumb_bob"),
}
"""Names that some drivers and calibration tools, such as Kalibr, use for these models."""


SEEN_MARGIN = 4
"""Width in pixels of the border of the camera's view that is masked, because the black area outside does not move with
the scene."""


class BadCalibration(ValueError):
    """The camera's calibration is missing or cannot be used."""


def checked_distortion(
    intrinsics: NDArray[np.float64], distortion: NDArray[np.float64], model: str, remedy: str
) -> tuple[NDArray[np.float64], str]:
    """Refuse a calibration that cannot be used; return the distortion and its model as OpenCV takes them.

    Args:
        intrinsics: ``(3, 3)``.
        distortion: the coefficients; any number of zeros means no distortion. Extra zeros at the end are dropped:
            RealSense's T265 publishes five coefficients for a model that has four.
        model: of distortion; an unknown name is accepted if there is no distortion.
        remedy: what to do if the model is unknown.

    Returns:
        The coefficients, and one of `DISTORTION_MODELS`.

    Raises:
        BadCalibration: a value is not finite, a focal length is not positive, the model is unknown, or it has another
            number of coefficients.
    """
    if not (np.isfinite(intrinsics).all() and np.isfinite(distortion).all()):
        raise BadCalibration("K, P or D of camera_info holds a value that is not finite: calibrate the camera")
    if not (intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
        raise BadCalibration(
            f"the focal lengths of camera_info are {intrinsics[0, 0]:g} and {intrinsics[1, 1]:g}; "
            "calibrate the camera, or make its driver publish the calibration"
        )
    name = model.strip().lower()
    name = OTHER_NAMES.get(name, name)
    if not distortion.any():
        return np.zeros(4), name if name in DISTORTION_MODELS else ""
    if name not in DISTORTION_MODELS:
        raise BadCalibration(
            f"unknown distortion model '{model}'; known are plumb_bob, rational_polynomial and equidistant: {remedy}"
        )
    allowed = DISTORTION_MODELS[name]
    usable = [count for count in allowed if count <= distortion.size and not distortion[count:].any()]
    if not usable:
        raise BadCalibration(
            f"D of camera_info has {distortion.size} values, but the distortion model '{model}' takes "
            f"{' or '.join(map(str, allowed))}: calibrate the camera"
        )
    return distortion[: usable[-1]], name


class Rectifier:
    """Turns the images of a camera into those of an ideal camera without distortion.

    Args:
        size: of the images.
        intrinsics: ``(3, 3)`` of the images, pixels.
        distortion: coefficients as OpenCV orders them; empty for none.
        model: of distortion, see `checked_distortion`.
        rotation: ``(3, 3)`` from the camera to the ideal one; zeros for none.
        projection: ``(3, 3)`` intrinsics of the ideal camera, pixels; zeros for those of the images.

    Attributes:
        valid_mask: ``(H, W)`` bool, where a rectified image shows what the camera saw, except for a margin of
            `SEEN_MARGIN`; ``None`` for everywhere.

    Raises:
        BadCalibration: see `checked_distortion`, or the rotation or projection is not finite.
    """

    def __init__(
        self,
        size: Size,
        intrinsics: NDArray[np.float64],
        distortion: NDArray[np.float64],
        model: str,
        rotation: NDArray[np.float64],
        projection: NDArray[np.float64],
    ) -> None:
        remedy = "set rectify to false and subscribe to images that are rectified"
        distortion, model = checked_distortion(intrinsics, distortion, model, remedy)
        if not (np.isfinite(rotation).all() and np.isfinite(projection).all()):
            raise BadCalibration("R or P of camera_info holds a value that is not finite: calibrate the camera")
        self.projection = projection if projection[0, 0] > 0 else intrinsics
        rotation = rotation if rotation.any() else np.eye(3)
        make_maps = cv2.fisheye.initUndistortRectifyMap if model == FISHEYE else cv2.initUndistortRectifyMap
        try:
            self._maps = make_maps(intrinsics, distortion, rotation, self.projection, size, cv2.CV_16SC2)
        except cv2.error as error:
            raise BadCalibration(f"OpenCV refuses the calibration of camera_info: {error.err}") from error
        self._size = size
        self.valid_mask = self._find_valid_mask()

    def rectify(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rectified image ``(H, W, 3)``, black outside the camera's view.

        Raises:
            ValueError: the image has another size.
        """
        if size_of(image) != self._size:
            raise ValueError(f"an image of {size_of(image)} for a rectifier of {self._size}")
        return self._remap(image)

    def _remap(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)

    def _find_valid_mask(self) -> NDArray[np.bool_] | None:
        white = np.full((self._size.height, self._size.width), 255, np.uint8)
        valid = self._remap(white) == 255
        if valid.all():
            return None
        side = 2 * SEEN_MARGIN + 1
        # Pixels beyond the image's border count as valid, because the camera's view does not end there.
        eroded = cv2.erode(valid.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=1)
        return np.asarray(eroded > 0)
