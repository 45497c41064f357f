# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A calibrated camera: pixels to rays and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.rectification import FISHEYE, check_calibration
from mdflow_ros.core.resizing import Size

MAX_ANGLE = 70.0
"""Degrees off the axis of a distorting lens beyond which rays count as unknown: there one pixel spans many times more
of the plane z = 1 than in the middle, and from 90 degrees on none of it."""

UNDISTORTION = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-9)
"""OpenCV stops after 5 iterations by itself, 3 pixels off in the corners of KITTI's images."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, with or without lens distortion.

    Attributes:
        size: width and height of its images, pixels.
        intrinsics: ``(3, 3)``, pixels.
        distortion: coefficients as OpenCV orders them; empty for none.
        model: one of `DISTORTION_MODELS`.
    """

    size: Size
    intrinsics: NDArray[np.float64]
    distortion: NDArray[np.float64]
    model: str = ""

    def __post_init__(self) -> None:
        remedy = "use rectified images and the parameter rectified"
        check_calibration(self.intrinsics, self.distortion, self.model, remedy)

    @property
    def focal_length(self) -> float:
        """Mean of both focal lengths, pixels."""
        return float(self.intrinsics[0, 0] + self.intrinsics[1, 1]) / 2

    def rays(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the points ``(H, W, 2)`` of pixels ``(H, W, 2)`` on the plane z = 1.

        With lens distortion, pixels outside the image, and rays beyond `MAX_ANGLE`, give NaN.
        """
        # Without coefficients, a fisheye image still grows with the angle of the ray, not with its tangent.
        if self.model != FISHEYE and not self.distortion.any():
            focal = np.array([self.intrinsics[0, 0], self.intrinsics[1, 1]], np.float32)
            return np.asarray((pixels - self.intrinsics[:2, 2].astype(np.float32)) / focal, np.float32)
        x, y = (np.ascontiguousarray(pixels[..., axis], np.float32) for axis in (0, 1))
        looked_up = cv2.remap(self._ray_map, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (x >= 0) & (x <= self.size[0] - 1) & (y >= 0) & (y <= self.size[1] - 1)
        return np.where(inside[..., None], looked_up, np.float32(np.nan))

    def pixels(self, rays: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where points ``(..., 2)`` on the plane z = 1 are in the undistorted image, pixels."""
        focal = np.array([self.intrinsics[0, 0], self.intrinsics[1, 1]], np.float32)
        return np.asarray(rays * focal + self.intrinsics[:2, 2].astype(np.float32), np.float32)

    @cached_property
    def _ray_map(self) -> NDArray[np.float32]:
        """Rays of all pixels; undistortion iterates, so it is done once."""
        width, height = self.size
        points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 1, 2).astype(float)
        coefficients = self.distortion if self.distortion.any() else np.zeros(4)
        if self.model == FISHEYE:
            rays = cv2.fisheye.undistortPoints(points, self.intrinsics, coefficients)
        else:
            identity = np.eye(3)
            rays = cv2.undistortPointsIter(points, self.intrinsics, coefficients, identity, identity, UNDISTORTION)
        # OpenCV mirrors rays from behind the camera to its front.
        in_front = (rays * (points - self.intrinsics[:2, 2])).sum(axis=-1, keepdims=True) >= 0
        near_axis = np.linalg.norm(rays, axis=-1, keepdims=True) <= np.tan(np.deg2rad(MAX_ANGLE))
        rays = np.where(in_front & near_axis, rays, np.nan)
        return np.asarray(rays.reshape(height, width, 2), np.float32)
