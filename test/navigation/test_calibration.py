# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The confidence that the consumers use is a probability, in a world that its calibration has not seen."""

import numpy as np
from navigation_scenes import RealFlow

from mdflow_ros.core.confidence import RIGHT_PIXELS, RIGHT_SHARE
from mdflow_training.synthetic.navigation_world import crossing_step, hall_step


def test_probability_is_the_share_of_right_flow_on_other_steps() -> None:
    flow, promised, right = RealFlow(), [], []
    for step in (hall_step(30), hall_step(130), crossing_step(50), crossing_step(51)):
        found, probability = flow(step)
        error, length = (np.linalg.norm(field, axis=-1) for field in (found - step.flow, step.flow))
        known = np.isfinite(error)
        promised.append(probability[known])
        right.append((error <= np.maximum(RIGHT_PIXELS, RIGHT_SHARE * length))[known])
    chances, correct = np.concatenate(promised), np.concatenate(right)
    parts = np.array_split(np.argsort(chances), 10)
    gap = np.mean([abs(chances[part].mean() - correct[part].mean()) for part in parts])
    assert gap < 0.06
