# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What the confidence depends on, cue by cue, on made-up images and flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from mdflow_ros.core.confidence import CUES, ConfidenceCalibration, FlowEvidence, camera_noise, compute_cues
from mdflow_ros.core.resizing import Size

SIZE = Size(128, 96)
MIDDLE = (slice(12, -12), slice(12, -12))


def image_of(name: str, noise: float = 0.0) -> NDArray[np.uint8]:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    levels = {"flat": 0 * x, "stripes": 40 * np.sin(x / 3), "checks": 40 * np.sin(x / 3) * np.sin(y / 3)}[name]
    levels = 120 + levels + np.random.default_rng(0).normal(0, noise, levels.shape)
    return np.round(levels).clip(0, 255).astype(np.uint8)


def evidence_of(flow: float, backward: float) -> FlowEvidence:
    """Return the evidence of the same flow everywhere, in pixels to the right."""

    def constant(value: float, scale: int = 1) -> NDArray[np.float32]:
        field = np.zeros((SIZE.height // scale, SIZE.width // scale, 2), np.float32)
        field[..., 0] = value
        return field

    return FlowEvidence(constant(flow), constant(flow, 4), constant(flow, 8), constant(backward, 4), SIZE)


def measured(first: NDArray[np.uint8], second: NDArray[np.uint8], flow: float, backward: float) -> dict[str, float]:
    cues = compute_cues(first, second, evidence_of(flow, backward))
    return {name: float(np.median(cue[MIDDLE])) for name, cue in zip(CUES, cues, strict=True)}


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


def test_noise_counts_the_same_everywhere_and_more_with_more() -> None:
    quiet, loud = (measured(*[image_of("checks", noise)] * 2, 0, 0)["noise"] for noise in (2.0, 6.0))
    assert loud > quiet + 0.5


def test_a_shift_down_is_followed_down() -> None:
    first = image_of("checks")
    evidence = evidence_of(0, 0)
    evidence.flow[..., 1] = 4
    census = {shift: compute_cues(first, np.roll(first, shift, axis=0), evidence)[1][MIDDLE] for shift in (4, -4)}
    assert np.median(census[4]) < np.median(census[-4]) - 1


@pytest.mark.parametrize(("flow", "outside"), [(0.0, -10.0), (60.0, -1.5), (70.0, 3.5), (500.0, 10.0)])
def test_outside_is_the_distance_from_the_border_at_half_the_size(flow: float, outside: float) -> None:
    # The median column of the middle is 31.5 of 64 at half the size; the border is at 63.
    assert measured(*[image_of("checks")] * 2, flow, -flow)["outside"] == pytest.approx(outside, abs=0.01)


def test_a_boundary_is_seen_four_pixels_of_half_the_size_beside_it() -> None:
    image, evidence = image_of("checks"), evidence_of(0, 0)
    evidence.flow[:, 64:] = 8
    boundary = compute_cues(image, image, evidence)[CUES.index("boundary")][24]
    assert boundary[28:36].min() > boundary[[24, 40]].max() + 3


def test_flows_are_compared_in_pixels_of_the_image() -> None:
    """The network sees half of the image's columns, so one of its pixels across is two of the image."""

    def constant(u: float, v: float, scale: int = 1) -> NDArray[np.float32]:
        return np.full((SIZE.height // scale, SIZE.width // scale, 2), (u, v), np.float32)

    evidence = FlowEvidence(constant(8, 4), constant(3, 4, 4), constant(2.5, 4, 8), constant(-2.5, -4, 4), Size(64, 96))
    cues = dict(zip(CUES, compute_cues(image_of("flat"), image_of("flat"), evidence), strict=True))
    expected = {
        "visibility": np.log((1 + 0.01) / (0.01 * (6**2 + 4**2 + 5**2 + 4**2) + 0.5)),  # (6, 4) there, (-5, -4) back
        "update": np.log(1 + 0.01),  # from (5, 4) to (6, 4)
        "refinement": np.log(2**2 + 3e-3),  # from (6, 4) to (8, 4)
    }
    for name, value in expected.items():
        np.testing.assert_allclose(cues[name], value, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("size", [Size(127, 95), Size(333, 201)])
def test_a_flow_that_was_not_refined_was_not_refined_in_images_with_odd_sides(size: Size) -> None:
    """Half of an odd side is rounded, so a pixel of half the size is not two pixels of the image."""
    image = np.full((size.height, size.width), 120, np.uint8)
    flow, coarser = (np.full((size.height // scale, size.width // scale, 2), (20, 10), np.float32) for scale in (1, 2))
    cues = compute_cues(image, image, FlowEvidence(flow, flow, coarser, -flow, size))
    np.testing.assert_allclose(cues[CUES.index("refinement")], np.log(3e-3), atol=1e-3)


def test_slopes_of_the_flow_are_per_pixel() -> None:
    evidence = evidence_of(0, 0)
    evidence.flow[..., 1] = 0.3 * np.arange(SIZE.height)[:, None]
    cues = dict(zip(CUES, compute_cues(image_of("flat"), image_of("flat"), evidence), strict=True))
    for name in ("gradient", "near_gradient", "boundary"):
        np.testing.assert_allclose(cues[name][MIDDLE], np.log(0.3**2 + 1e-3), atol=1e-3, err_msg=name)


def test_the_census_distance_of_simple_images() -> None:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    flat, ramp, checkers = np.full_like(x, 50), x, 50 + (-1) ** (x // 2 + y // 2)
    noise = 16 / (6 * 0.6745)  # the second difference of the checkers at half the size is 16

    def distance(difference: float, softness: float) -> float:
        squared = difference**2 / (softness + difference**2)
        return squared / (0.1 + squared)

    for image, share, softness in ((ramp, 3 / 4, 0.81), (checkers, 2 / 4, 0.81 + (3 * noise) ** 2)):
        census = measured(image.astype(np.uint8), flat.astype(np.uint8), 0, 0)["census"]
        assert census == pytest.approx(np.log(share * distance(2, softness) + 0.01), abs=1e-3)


def test_texture_is_the_mean_square_of_the_weaker_slope() -> None:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    across, down = (2 * abs((axis + 0.5) % 32 - 16) for axis in (x, y))  # triangles of 16 pixels of half the size
    texture = measured(*[np.rint(across + down).astype(np.uint8)] * 2, 0, 0)["far_texture"]
    # Of 8 pixels of a side, 6 have a slope of 4, and the ones at its ends 2.
    assert texture == pytest.approx(np.log((6 * 4**2 + 2 * 2**2) / 8), abs=0.15)


def test_the_probability_is_a_logistic_regression_with_squares_and_products() -> None:
    cues = np.random.default_rng(0).normal(size=(5, 60, 70)).astype(np.float32)  # more than one block of pixels
    low, high = (-1.5,) * 5, (2.0, 1.0, 1.5, 1.5, 1.5)
    linear, square, products = (0.5, -1.0, 0.0, 0.3, 0.1), (0.2, 0.0, -0.3, 0.1, 0.0), tuple(np.arange(10) / 20)
    calibration = ConfidenceCalibration((0.1,) * 5, (2.0,) * 5, low, high, linear, square, 0.7, products)
    values = (np.clip(cues, *(np.reshape(limits, (5, 1, 1)) for limits in (low, high))) - 0.1) / 2
    logit = 0.7 + sum(linear[i] * values[i] + square[i] * values[i] ** 2 for i in range(5))
    for weight, (i, j) in zip(products, itertools.combinations(range(5), 2), strict=True):
        logit += weight * values[i] * values[j]
    np.testing.assert_allclose(calibration.probability(list(cues)), 1 / (1 + np.exp(-logit)), atol=1e-6)


def test_an_outline_far_away_is_seen_by_the_far_texture_alone() -> None:
    blank, with_outline = image_of("flat"), image_of("flat")
    with_outline[:, :24] = image_of("checks")[:, :24]
    pixel = (slice(22, 26), slice(24, 26))  # 12 pixels of half the size from the outline
    cues = [compute_cues(image, image, evidence_of(0, 0)) for image in (blank, with_outline)]
    near, far = ([float(cue[CUES.index(name)][pixel].mean()) for cue in cues] for name in ("texture", "far_texture"))
    assert near[1] == pytest.approx(near[0], abs=0.1) and far[1] > far[0] + 1
