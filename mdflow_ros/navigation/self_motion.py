# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's motion from the flow alone; the distance traveled stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.epipolar import excess, parallax, refine
from mdflow_ros.navigation.matches import Matches, transformed
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion

MIN_DEPTH = 2.0
"""Nearest depth of a static point, in distances traveled between the images."""

MIN_MATCHES = 50
MAX_MATCHES = 500
"""Matches that the robust fits use."""

MAX_PLANE_MATCHES = 3000
"""Matches to which a homography is fitted in the end."""

MIN_MEDIAN_FLOW = 0.5
"""A camera whose median flow is below this many pixels stands still."""

PLANE_PREFERENCE = 0.9
"""A homography is taken when it explains at least this share of what an essential matrix explains."""

MAX_RESIDUAL = 1.5
"""Residual of an explained match, pixels."""

LOOSE_ROTATION, LOOSE_DIRECTION = 0.02, 0.2
"""Standard deviations of the robust fit, radians and of the unit translation, before it is refined."""


@dataclass(frozen=True, eq=False)
class SelfMotion:
    """The camera motion that explains most of the flow.

    Attributes:
        camera: rotation, and translation of length one; 0 where the camera only turns or the view is one plane.
        homography: ``(3, 3)`` between the planes z = 1, for a camera that only turns, or sees one plane.
    """

    camera: CameraMotion
    homography: NDArray[np.float64] | None

    def excess(self, matches: Matches) -> NDArray[np.float32]:
        """Return how far each match is from what the motion explains, in standard deviations ``(H, W)``."""
        if self.homography is None:
            return excess(parallax(matches, self.camera, MIN_DEPTH), MIN_DEPTH)
        return plane_excess(matches, self.homography)


def plane_excess(matches: Matches, homography: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the distance of each match from ``homography``, in standard deviations ``(H, W)``."""
    distance = matches.newer - transformed(matches.older, homography)
    return np.asarray(np.hypot(distance[..., 0], distance[..., 1]) / matches.sigma, np.float32)


def self_motion(matches: Matches, focal_length: float, min_confidence: float) -> SelfMotion | None:
    """Find the motion of the camera that explains most of the flow.

    An essential matrix (RANSAC, then `refine`) where depth varies, a homography where the view is one plane or the
    camera only turns (compare ORB-SLAM's choice between both).

    Args:
        matches: of the flow.
        focal_length: pixels.
        min_confidence: matches below it are not used.

    Returns:
        The motion, or ``None`` where too few matches are confident or no motion explains half of them.
    """
    subset = matches.at_most(2 * MAX_MATCHES)
    usable = subset.usable(min_confidence)
    older, newer = subset.older[usable].astype(float), subset.newer[usable].astype(float)
    if len(older) < MIN_MATCHES:
        return None
    if np.median(np.linalg.norm(newer - older, axis=1)) * focal_length < MIN_MEDIAN_FLOW:
        return _of_plane(np.eye(3))
    threshold = MAX_RESIDUAL / focal_length
    homography, on_plane = cv2.findHomography(older, newer, cv2.RANSAC, threshold / 2, maxIters=200, confidence=0.99)
    essential, on_lines = cv2.findEssentialMat(
        older, newer, np.eye(3), method=cv2.USAC_DEFAULT, prob=0.99, threshold=threshold / 2
    )
    plane_share = 0.0 if homography is None else float(on_plane.mean())
    lines_share = 0.0 if essential is None or essential.shape != (3, 3) else float(on_lines.mean())
    if max(plane_share, lines_share) < 0.5:
        return None
    if plane_share >= PLANE_PREFERENCE * lines_share:
        return _of_plane(_refined_plane(np.asarray(homography, float), matches, min_confidence))
    camera = _of_essential(np.asarray(essential, float), subset, min_confidence)
    return SelfMotion(refine(matches, camera, MIN_DEPTH, min_confidence), None)


def _of_essential(essential: NDArray[np.float64], subset: Matches, min_confidence: float) -> CameraMotion:
    """Return the motion of an essential matrix that turns less and puts most points in front of the camera."""
    first, second, direction = cv2.decomposeEssentialMat(essential)
    # The other rotation turns the camera around; no robot does that between two images.
    rotation = np.asarray(max(first, second, key=np.trace), float)
    covariance = np.diag(np.repeat([LOOSE_ROTATION, LOOSE_DIRECTION], 3) ** 2)
    motions = [
        CameraMotion(RigidMotion(rotation, sign * np.asarray(direction, float).ravel()), covariance) for sign in (1, -1)
    ]
    usable = subset.usable(min_confidence)

    def points_in_front(camera: CameraMotion) -> float:
        displacement = parallax(subset, camera, MIN_DEPTH)
        return float(np.clip(displacement.along[usable] / subset.sigma[usable], -5, 5).sum())

    return max(motions, key=points_in_front)


def _refined_plane(homography: NDArray[np.float64], matches: Matches, min_confidence: float) -> NDArray[np.float64]:
    """Fit a homography to everything that nearly follows it: four matches are noisy."""
    subset = matches.at_most(MAX_PLANE_MATCHES)
    follows = subset.usable(min_confidence) & (plane_excess(subset, homography) < 3)
    if follows.sum() < MIN_MATCHES:
        return homography
    refined, _ = cv2.findHomography(subset.older[follows].astype(float), subset.newer[follows].astype(float), 0)
    return homography if refined is None else np.asarray(refined)


def _of_plane(homography: NDArray[np.float64]) -> SelfMotion:
    """Return the motion of a camera that sees one plane, or only turns."""
    rotation = _smallest_rotation(homography)
    covariance = np.diag(np.repeat([LOOSE_ROTATION, 1e-4], 3) ** 2)
    return SelfMotion(CameraMotion(RigidMotion(rotation, np.zeros(3)), covariance), homography)


def _smallest_rotation(homography: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation of a homography; of the two that a plane allows, the one that turns less."""
    _, rotations, _, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    return np.asarray(max(rotations, key=np.trace))
