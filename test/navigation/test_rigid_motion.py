# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Poses between those that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mdflow_ros.navigation.rigid_motion import PoseHistory, RigidMotion, rotation_from_vector, rotation_of

MILLISECOND = 1_000_000


@pytest.mark.parametrize("vector", [(0.3, 0, 0), (0, -0.7, 0), (0.4, 0.5, 2.0)])
def test_a_quaternion_and_a_vector_are_the_same_rotation(vector: tuple[float, ...]) -> None:
    angle = np.linalg.norm(vector)
    quaternion = np.append(np.sin(angle / 2) * np.array(vector) / angle, np.cos(angle / 2))
    np.testing.assert_allclose(rotation_of(3 * quaternion), rotation_from_vector(np.array(vector)), atol=1e-12)


def test_motions_are_chained_and_undone() -> None:
    first, second = (RigidMotion(rotation_from_vector(np.array(v)), np.array(v)) for v in ((1, 2, 3.0), (0, -1, 0.5)))
    point = np.array([0.3, -0.2, 2.0])
    moved = second.rotation @ (first.rotation @ point + first.translation) + second.translation
    both = second @ first
    np.testing.assert_allclose(both.rotation @ point + both.translation, moved)
    np.testing.assert_allclose(both.inverse().rotation @ moved + both.inverse().translation, point)


def test_a_pose_between_two_turns_and_moves_evenly() -> None:
    start, turned = rotation_from_vector(np.array([0, 0.9, 0])), np.array([0.4, 0, 0.8])
    stamps = [(1000 + milliseconds) * MILLISECOND for milliseconds in (0, 40, 80)]
    poses = PoseHistory()
    poses.add(stamps[0], RigidMotion(start, np.array([1.0, 2, 3])))
    poses.add(stamps[1], RigidMotion(rotation_from_vector(turned) @ start, np.array([5.0, 2, -1])))
    poses.add(stamps[2], RigidMotion(start, np.zeros(3)))
    quarter = poses.at(stamps[0] + 10 * MILLISECOND)
    assert quarter is not None
    np.testing.assert_allclose(quarter.rotation, rotation_from_vector(turned / 4) @ start, atol=1e-12)
    np.testing.assert_allclose(quarter.translation, [2, 2, 2])
    assert poses.at(stamps[1]) is poses.values[1] and poses.at(stamps[0]) is poses.values[0]
    assert poses.at(stamps[0] - 1) is None and poses.at(stamps[2] + 1) is None
    assert (poses.oldest, poses.newest) == (stamps[0], stamps[2])
