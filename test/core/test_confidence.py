# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What the confidence depends on, measure by measure, on made-up images and flow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mdflow_ros.core.confidence import MEASURES, FlowEvidence, camera_noise, measure_evidence
from mdflow_ros.core.resizing import Size

SIZE = Size(128, 96)
MIDDLE = (slice(12, -12), slice(12, -12))


def image_of(name: str, noise: float = 0.0) -> NDArray[np.uint8]:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    levels = {"flat": 0 * x, "stripes": 40 * np.sin(x / 3), "checks": 40 * np.sin(x / 3) * np.sin(y / 3)}[name]
    levels = 120 + levels + np.random.default_rng(0).normal(0, noise, levels.shape)
    return np.round(levels).clip(0, 255).astype(np.uint8)


def measured(first: NDArray[np.uint8], second: NDArray[np.uint8], flow: float, backward: float) -> dict[str, float]:
    def constant(value: float, scale: int = 1) -> NDArray[np.float32]:
        field = np.zeros((SIZE.height // scale, SIZE.width // scale, 2), np.float32)
        field[..., 0] = value
        return field

    evidence = FlowEvidence(constant(flow), constant(flow, 4), constant(flow, 8), constant(backward, 4), SIZE)
    measures = measure_evidence(first, second, evidence)
    return {name: float(np.median(measure[MIDDLE])) for name, measure in zip(MEASURES, measures, strict=True)}


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
def test_only_what_varies_in_both_directions_is_texture(noise: float) -> None:
    texture = {name: measured(*[image_of(name, noise)] * 2, 0, 0)["texture"] for name in ("flat", "stripes", "checks")}
    assert texture["checks"] > texture["stripes"] + 1.5 and texture["checks"] > texture["flat"] + 1.5


def test_noise_is_measured() -> None:
    for noise in (2.0, 6.0):
        assert camera_noise(image_of("checks", noise).astype(np.float32)) == pytest.approx(noise, rel=0.15)


def test_the_right_flow_has_less_census_distance_and_returns_home() -> None:
    first = image_of("checks")
    second = np.roll(first, 4, axis=1)
    right, wrong = measured(first, second, 4, -4), measured(first, second, 0, -4)
    assert right["census"] < wrong["census"] - 1
    assert right["visibility"] < wrong["visibility"] - 2
