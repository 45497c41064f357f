# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A calibrated camera that turns pixels into rays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.rectification import FISHEYE, checked_distortion
from mdflow_ros.core.resizing import Size

MAX_ANGLE = 70.0
"""Rays more than this many degrees off the axis of a distorting lens are unknown: there a pixel spans many times more
of the plane z = 1 than in the center, and rays beyond 90 degrees do not meet the plane."""

UNDISTORTION = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-9)
"""By default OpenCV stops after 5 iterations, with errors of 3 pixels in the corners of KITTI's images."""

MAX_REPROJECTION_ERROR = 0.1
"""A ray is unknown if its projection is farther than this from its pixel, in pixels."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, with or without lens distortion.

    Attributes:
        size: width and height of its images, pixels.
        intrinsics: ``(3, 3)``, pixels.
        distortion: coefficients as OpenCV orders them.
        model: one of `DISTORTION_MODELS`.

    Raises:
        BadCalibration: see `checked_distortion`, whose results replace ``distortion`` and ``model``.
    """

    size: Size
    intrinsics: NDArray[np.float64]
    distortion: NDArray[np.float64]
    model: str = ""

    def __post_init__(self) -> None:
        remedy = "use rectified images and the parameter rectified"
        distortion, model = checked_distortion(self.intrinsics, self.distortion, self.model, remedy)
        object.__setattr__(self, "distortion", distortion)
        object.__setattr__(self, "model", model)

    def rays(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the points ``(H, W, 2)`` of pixels ``(H, W, 2)`` on the plane z = 1.

        With lens distortion, pixels outside the image, and rays beyond `MAX_ANGLE`, give NaN.
        """
        if self._is_pinhole:
            (focal_x, _, center_x), (_, focal_y, center_y) = self.intrinsics[:2].astype(np.float32)
            return np.stack(((pixels[..., 0] - center_x) / focal_x, (pixels[..., 1] - center_y) / focal_y), axis=-1)
        return self._look_up(self._ray_map, pixels)

    @property
    def _is_pinhole(self) -> bool:
        # Even without coefficients, a fisheye maps the angle of a ray, not its tangent.
        return self.model != FISHEYE and not self.distortion.any()

    def _look_up(self, field: NDArray[np.float32], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate a field of the image's size at ``pixels``; NaN outside, and where a pixel is NaN itself."""
        x, y = (np.ascontiguousarray(pixels[..., axis], np.float32) for axis in (0, 1))
        looked_up = np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        inside = (x >= 0) & (x <= self.size[0] - 1) & (y >= 0) & (y <= self.size[1] - 1)  # False for NaN
        looked_up[~inside] = np.nan
        return looked_up

    def pixel_spans(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the largest step on the plane z = 1 per pixel, ``(H, W)`` for pixels ``(H, W, 2)``.

        NaN where `rays` returns NaN. Off the axis of a fisheye lens it is several times larger than in the center.
        """
        if self._is_pinhole:
            return np.full(pixels.shape[:2], 1 / min(self.intrinsics[0, 0], self.intrinsics[1, 1]), np.float32)
        return self._look_up(self._span_map, pixels)

    @cached_property
    def _ray_map(self) -> NDArray[np.float32]:
        """Rays of all pixels, computed once, because undistortion is iterative."""
        width, height = self.size
        points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 1, 2).astype(float)
        if self.model == FISHEYE:
            rays = cv2.fisheye.undistortPoints(points, self.intrinsics, self.distortion)
        else:
            identity = np.eye(3)
            rays = cv2.undistortPointsIter(points, self.intrinsics, self.distortion, identity, identity, UNDISTORTION)
        # OpenCV mirrors rays from behind the camera to its front.
        in_front = (rays * (points - self.intrinsics[:2, 2])).sum(axis=-1, keepdims=True) >= 0
        near_axis = np.linalg.norm(rays, axis=-1, keepdims=True) <= np.tan(np.deg2rad(MAX_ANGLE))
        # Strong coefficients fold the image in the corners, where no ray is found.
        reprojection_error = np.linalg.norm(self._distorted(np.asarray(rays, float)) - points, axis=-1, keepdims=True)
        leads_back = reprojection_error <= MAX_REPROJECTION_ERROR
        rays = np.where(in_front & near_axis & leads_back, rays, np.nan)
        return np.asarray(rays.reshape(height, width, 2), np.float32)

    def _distorted(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixels ``(N, 1, 2)`` of points ``(N, 1, 2)`` on the plane z = 1."""
        points, still = np.dstack((rays, np.ones(rays.shape[:2]))), np.zeros(3)
        if self.model == FISHEYE:
            return np.asarray(cv2.fisheye.projectPoints(points, still, still, self.intrinsics, self.distortion)[0])
        return np.asarray(cv2.projectPoints(points, still, still, self.intrinsics, self.distortion)[0])

    @cached_property
    def _span_map(self) -> NDArray[np.float32]:
        """Return `pixel_spans` of all pixels: the largest singular value of the derivative of the rays."""
        down, across = np.gradient(self._ray_map.astype(float), axis=(0, 1))
        squares = (across**2 + down**2).sum(axis=-1)
        area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
        return np.sqrt((squares + np.sqrt(np.maximum(squares**2 - 4 * area**2, 0))) / 2).astype(np.float32)
