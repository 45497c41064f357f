# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered steps as the consumers of the flow see them."""

from __future__ import annotations

import numpy as np

from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.matches import Matches, flow_sigma, match
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion, rotation_from_vector
from mdflow_training.synthetic.navigation_world import Step

TRANSLATION_SIGMA, ROTATION_SIGMA = 0.02, float(np.deg2rad(0.2))
CONFIDENCE = 0.95


def camera_of(step: Step) -> Camera:
    height, width = step.depth.shape
    return Camera((width, height), step.intrinsics, np.zeros(0))


def pixels_of(camera: Camera, rays: np.ndarray) -> np.ndarray:
    """Return where points ``(..., 2)`` on the plane z = 1 are in the undistorted image, pixels."""
    focal = np.array([camera.intrinsics[0, 0], camera.intrinsics[1, 1]], np.float32)
    return np.asarray(rays * focal + camera.intrinsics[:2, 2].astype(np.float32), np.float32)


def noisy_flow(step: Step, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact flow with the noise that its confidence promises, and the confidence."""
    confidence = np.full(step.depth.shape, CONFIDENCE, np.float32)
    sigma = flow_sigma(confidence, np.hypot(step.flow[..., 0], step.flow[..., 1]))
    noise = random.standard_normal(step.flow.shape) * sigma[..., None]
    return (step.flow + noise).astype(np.float32), confidence


def matches_of(step: Step, random: np.random.Generator) -> Matches:
    return match(*noisy_flow(step, random), camera_of(step), 2)


def measured_motion(step: Step, random: np.random.Generator | None = None) -> CameraMotion:
    """Return the true motion, or one with the noise of odometry, with that noise's sigmas."""
    motion = RigidMotion(step.rotation, step.translation)
    if random is not None:
        distance = float(np.linalg.norm(step.translation))
        motion = RigidMotion(
            rotation_from_vector(random.normal(0, ROTATION_SIGMA, 3)) @ step.rotation,
            step.translation + random.normal(0, TRANSLATION_SIGMA, 3) * distance,
        )
    return CameraMotion.with_sigmas(motion, TRANSLATION_SIGMA, ROTATION_SIGMA)


class RealFlow:
    """The bundled model, its confidence as a probability."""

    def __init__(self, quality: str = "balanced") -> None:
        self._estimator = FlowEstimator(backend="onnxruntime", quality=quality)

    def __call__(self, step: Step) -> tuple[np.ndarray, np.ndarray]:
        """Return flow and probability."""
        estimate = self._estimator.estimate(*step.images)
        assert estimate.confidence is not None
        return estimate.flow, estimate.confidence

    def matches(self, step: Step) -> Matches:
        return match(*self(step), camera_of(step), 2)


def true_depth(step: Step, matches: Matches) -> np.ndarray:
    """Return the depth of the matches' points in the newer camera."""
    depth = step.depth[:: matches.stride, :: matches.stride]
    older = np.concatenate((matches.older * depth[..., None], depth[..., None]), axis=-1)
    return (older @ step.rotation.T + step.translation)[..., 2]
