# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the camera's motion from the flow alone; the traveled distance remains unknown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.epipolar import normalized_residual, parallax, refine
from mdflow_ros.navigation.matches import MAX_MATCHES, Matches, lengths, transformed, with_shared_errors
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion

MIN_DEPTH = 2.0
"""Minimum depth of a static point, as a multiple of the distance traveled between the images."""

MIN_MATCHES = 50
MAX_ROBUST_MATCHES = 1000
"""Maximum number of matches for the robust fits."""

MAX_COMPARED = 3000
"""Maximum number of matches for comparing motions, and for the final fit of a homography. With fewer, chance decides
more often between a homography and an essential matrix that explain about the same share."""

MAX_DEVIATIONS = 3.0
"""A motion explains a match with a residual below this many standard deviations."""

MAX_PARALLAX, MAX_PARALLAX_SHARE = 0.7, 0.04
"""A camera only turns, or rests, if its homography differs from a rotation by less than the sum of this many standard
deviations of a match and this share of the flow's length. Errors that neighbors share look like such a difference."""

RANSAC_DEVIATIONS = (2.0, 4.0)
"""Thresholds of two robust fits, in standard deviations of a match. A fit sometimes misses the best motion, so the
better of both is used."""

PLANE_PREFERENCE = 0.99
"""A homography is preferred if it explains at least this share of what an essential matrix explains. With a smaller
share, objects nearer than the rest of the view would count as moving."""

PLANE_TRIALS = 72
"""So many samples of four matches find a plane of half of the matches with a probability of 99 %. OpenCV's USAC is
faster, but its planes explain a little more and so are preferred more often where depth varies: of 120 slowly passed
halls with white noise, 6 instead of 2 then have a false object."""

REFIT_SHARE = 0.7
"""A homography that explains less of the matches rarely competes with an essential matrix and is not fitted again."""

ENOUGH_SHARE = 0.9
"""An essential matrix that explains this share of the matches is not fitted again."""

MIN_SHARE = 0.5
"""The motion is unknown if no candidate explains this share of the matches."""

TWO_AXES = 3.0 / 3.44
"""An error on two axes exceeds 3.44 standard deviations as rarely as an error on one axis exceeds 3."""

LOOSE_ROTATION, LOOSE_DIRECTION = 0.02, 0.2
"""Standard deviations of the robust fit before refinement: of the rotation, radians, and of the unit translation."""


@dataclass(frozen=True, eq=False)
class SelfMotion:
    """The camera motion that explains most of the flow.

    Attributes:
        camera: rotation, and translation of length one; 0 if the camera only turns or sees one plane.
        homography: ``(3, 3)`` between the planes z = 1, if the camera only turns or sees one plane; else ``None``.
    """

    camera: CameraMotion
    homography: NDArray[np.float64] | None

    def residual(self, matches: Matches) -> NDArray[np.float32]:
        """Return the normalized residual of each match ``(H, W)``: its distance from the flow of static points.

        It is in standard deviations, which include the errors that neighbors share (`with_shared_errors`).
        """
        matches = with_shared_errors(matches)
        if self.homography is None:
            return normalized_residual(parallax(matches, self.camera, MIN_DEPTH))
        return plane_residual(matches, self.homography)


def plane_residual(matches: Matches, homography: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the normalized residual of each match ``(H, W)``, in standard deviations of one axis."""
    distance = lengths(matches.newer - transformed(matches.older, homography))
    return np.asarray(TWO_AXES * distance / matches.sigma, np.float32)


def self_motion(matches: Matches, min_confidence: float) -> SelfMotion | None:
    """Find the motion of the camera that explains most of the flow.

    It is an essential matrix (RANSAC, then `refine`) if depth varies, or a homography if the view is one plane or the
    camera only turns; ORB-SLAM makes a similar choice.

    Args:
        matches: of the flow.
        min_confidence: matches below it are not used.

    Returns:
        The motion, or ``None`` if too few matches are confident, or no motion explains half of them.
    """
    subset, refined, compared = (
        matches.confident(min_confidence, count) for count in (MAX_ROBUST_MATCHES, MAX_MATCHES, MAX_COMPARED)
    )
    if len(subset.sigma) < MIN_MATCHES:
        return None

    def explained(motion: SelfMotion | None) -> float:
        return 0.0 if motion is None else float((motion.residual(compared) < MAX_DEVIATIONS).mean())

    plane = turning = None
    homography = _plane(subset, compared)
    if homography is not None:
        plane, turning = _of_plane(homography), _rotation_alone(homography, compared)
    plane_share = explained(plane)
    # Prefer the pure rotation: the free translation of an essential matrix would otherwise explain objects that move in
    # front of a camera at rest.
    if turning is not None and explained(turning) >= max(MIN_SHARE, PLANE_PREFERENCE * plane_share):
        return turning
    epipolar, epipolar_share = None, 0.0
    if plane_share < PLANE_PREFERENCE:
        for motion in _essential_motions(subset, refined):
            share = explained(motion)
            if share > epipolar_share:
                epipolar, epipolar_share = motion, share
            if share >= ENOUGH_SHARE:
                break
    if max(plane_share, epipolar_share) < MIN_SHARE:
        return None
    return plane if plane_share >= PLANE_PREFERENCE * epipolar_share else epipolar


def _essential_motions(subset: Matches, matches: Matches) -> Iterator[SelfMotion]:
    """Yield motions from essential matrices of ``subset``, refined on ``matches``."""
    older, newer, sigma = subset.older.astype(float), subset.newer.astype(float), _typical_sigma(subset)
    for deviations in RANSAC_DEVIATIONS:
        essential, _ = cv2.findEssentialMat(
            older, newer, np.eye(3), method=cv2.USAC_FAST, prob=0.99, threshold=deviations * sigma
        )
        if essential is not None and essential.shape == (3, 3):
            camera = _of_essential(np.asarray(essential, float), subset)
            yield SelfMotion(refine(matches, camera, MIN_DEPTH), None)


def _of_essential(essential: NDArray[np.float64], matches: Matches) -> CameraMotion:
    """Return the motion of an essential matrix with the smaller rotation and most points in front of the camera."""
    first, second, direction = cv2.decomposeEssentialMat(essential)
    # The other rotation turns the camera around, which no robot does between two images.
    rotation = np.asarray(max(first, second, key=np.trace), float)
    covariance = np.diag(np.repeat([LOOSE_ROTATION, LOOSE_DIRECTION], 3) ** 2)
    camera = CameraMotion(RigidMotion(rotation, np.asarray(direction, float).ravel()), covariance)
    along = parallax(matches, camera, MIN_DEPTH).along / matches.sigma
    if np.clip(along, -5, 5).sum() >= 0:
        return camera
    return CameraMotion(RigidMotion(rotation, -camera.motion.translation), covariance)


def _plane(subset: Matches, matches: Matches) -> NDArray[np.float64] | None:
    """Fit a homography to ``subset`` robustly; one that explains most matches is fitted to all that it explains."""
    threshold = MAX_DEVIATIONS * _typical_sigma(subset)
    older, newer = subset.older.astype(float), subset.newer.astype(float)
    homography, _ = cv2.findHomography(older, newer, cv2.RANSAC, threshold, maxIters=PLANE_TRIALS, confidence=0.99)
    if homography is None:
        return None
    explained = plane_residual(matches, np.asarray(homography, float)) < MAX_DEVIATIONS
    if explained.mean() >= REFIT_SHARE:
        inliers = matches.selected(explained)
        refined, _ = cv2.findHomography(inliers.older.astype(float), inliers.newer.astype(float), 0)
        homography = homography if refined is None else refined
    return np.asarray(homography, float)


def _rotation_alone(homography: NDArray[np.float64], matches: Matches) -> SelfMotion | None:
    """Return the rotation nearest to a homography, or ``None`` if the homography also shows parallax."""
    left, _, right = np.linalg.svd(homography / np.cbrt(np.linalg.det(homography)))
    rotation = left @ right
    difference = _typical_length(transformed(matches.older, homography) - transformed(matches.older, rotation))
    moved = _typical_length(matches.newer - matches.older)
    limit = MAX_PARALLAX * _typical_sigma(matches) + MAX_PARALLAX_SHARE * moved
    return _of_plane(rotation) if difference < limit else None


def _typical_sigma(matches: Matches) -> float:
    return float(np.median(matches.sigma))


def _typical_length(displacements: NDArray[np.float32]) -> float:
    """Return the root mean square length of vectors ``(N, 2)``."""
    return float(np.linalg.norm(displacements)) / math.sqrt(len(displacements))


def _of_plane(homography: NDArray[np.float64]) -> SelfMotion:
    """Return the motion of a camera that sees one plane, or only turns."""
    rotation = _smallest_rotation(homography)
    covariance = np.diag(np.repeat([LOOSE_ROTATION, 1e-4], 3) ** 2)
    return SelfMotion(CameraMotion(RigidMotion(rotation, np.zeros(3)), covariance), homography)


def _smallest_rotation(homography: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation of a homography; of the solutions that a plane allows, the smallest one."""
    _, rotations, _, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    return np.asarray(max(rotations, key=np.trace))
