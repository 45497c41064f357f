# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrate the confidence of a model on generated pairs with known flow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.confidence import ConfidenceCalibration
from mdflow_ros.core.resizing import resize_field, size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_training.evaluation.flow_metrics import endpoint_error, is_right
from mdflow_training.flow_files import Flow, Image
from mdflow_training.synthetic.navigation_world import crossing_step, hall_step
from mdflow_training.synthetic.pairs import choose_class, synthetic_pair
from mdflow_training.synthetic.textures import TextureLibrary

SIZES = ((256, 320), (384, 512), (192, 256))
"""Heights and widths of the generated pairs, pixels."""

HALL_SEED, HALL_FRAMES = 1000, 500
"""Seeds of halls and drives that are used for nothing else."""

BLANK_EVERY = 24
"""Every 24th pair shows a blank surface, so a calibration needs at least 24 pairs."""

PIXELS_PER_PAIR = 2_000
PERCENTILES = (0.5, 99.5)
ITERATIONS, CONVERGED = 30, 1e-7
"""Newton's method ends after this many steps, or when no weight changes by more than this tolerance."""

RIDGE = 1e-3
"""Weight of the squared coefficients, multiplied by the number of pixels."""


def calibration_pairs(library: TextureLibrary, seed: int, count: int) -> Iterator[tuple[Image, Image, Flow]]:
    """Yield generated pairs of many kinds: drives through halls, pairs as pretraining has them, and blank surfaces.

    Pretraining's pairs are harder than what cameras record: without the halls the confidence is too low. Without the
    blank surfaces it is too high on them, where the flow is smooth but arbitrary.
    """
    for number in range(count):
        if number % BLANK_EVERY == BLANK_EVERY - 1:
            yield blank_pair(np.random.default_rng([seed, number]), SIZES[number // BLANK_EVERY % len(SIZES)])
        elif number % 2 == 0:
            place = number // 2
            step = hall_step(place % HALL_FRAMES, HALL_SEED + place) if place % 2 else crossing_step(HALL_SEED + place)
            yield *step.images, step.flow
        else:
            pair = synthetic_pair(library, seed, number, SIZES[number % len(SIZES)], choose_class(seed, number))
            images = [np.ascontiguousarray(image[..., ::-1]) for image in (pair.first, pair.second)]
            yield images[0], images[1], pair.forward


def blank_pair(random: np.random.Generator, size: tuple[int, int]) -> tuple[Image, Image, Flow]:
    """Return a pair of a surface under uneven light, which shows nothing but noise, and moves or (one in four) rests.

    Args:
        random: draws the light, the noise and the motion.
        size: height and width, pixels.

    Returns:
        Images ``(H, W, 3)`` uint8 RGB and the flow ``(H, W, 2)`` in pixels, the same everywhere.
    """
    height, width = size
    row, column = np.mgrid[:height, :width]
    shift = random.uniform(-0.04, 0.04, 2) * width * (random.random() > 0.25)
    light, depth, noise = random.uniform(50, 200), random.uniform(5, 40), random.uniform(0.5, 8)
    waves, phases = 2 * np.pi / (random.uniform(1, 4, 2) * width), random.uniform(0, 2 * np.pi, 2)

    def photograph(across: float, down: float) -> Image:
        shade = np.sin((column - across) * waves[0] + phases[0]) * np.cos((row - down) * waves[1] + phases[1])
        image = (light + depth * shade)[..., None] + random.normal(0, noise, (height, width, 3))
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    return photograph(0, 0), photograph(*shift), np.full((height, width, 2), shift, np.float32)


def fit_calibration(
    estimator: FlowEstimator, pairs: Iterable[tuple[Image, Image, Flow]], seed: int = 0
) -> ConfidenceCalibration:
    """Fit the probability that the estimator's flow is right.

    Args:
        estimator: whose cues and flow are used.
        pairs: images ``(H, W, 3)`` RGB and the ground truth ``(H, W, 2)``.
        seed: of the pixels that are drawn.
    """
    random = np.random.default_rng(seed)
    rows, right = [], []
    for first, second, ground_truth in pairs:
        flow, cues = estimator.cues(first, second)
        size = size_of(flow)
        full = np.stack([resize_field(cue, size) for cue in cues], axis=-1).reshape(-1, len(cues))
        correct = is_right(endpoint_error(flow, ground_truth), ground_truth).ravel()
        drawn = random.integers(0, len(full), PIXELS_PER_PAIR)
        drawn = drawn[np.isfinite(ground_truth).all(axis=-1).ravel()[drawn]]
        rows.append(full[drawn])
        right.append(correct[drawn])
    return _fit(np.concatenate(rows).astype(np.float64), np.concatenate(right).astype(np.float64))


def _fit(cues: NDArray[np.float64], right: NDArray[np.float64]) -> ConfidenceCalibration:
    """Fit a ridge logistic regression over cues ``(N, M)``, their squares and products, by Newton's method."""
    low, high = np.percentile(cues, PERCENTILES, axis=0)
    clipped = np.clip(cues, low, high)
    mean, deviation = clipped.mean(axis=0), clipped.std(axis=0) + 1e-6
    scaled = (clipped - mean) / deviation
    count = cues.shape[1]
    products = np.stack([scaled[:, i] * scaled[:, j] for i, j in itertools.combinations(range(count), 2)], axis=1)
    design = np.concatenate((scaled, scaled**2, products, np.ones((len(scaled), 1))), axis=1)
    ridge = np.full(design.shape[1], RIDGE * len(design))
    ridge[-1] = 0
    weights = np.zeros(design.shape[1])
    for _ in range(ITERATIONS):
        probability = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (probability - right) + ridge * weights
        curvature = design.T * np.maximum(probability * (1 - probability), 1e-6)
        step = np.linalg.solve(curvature @ design + np.diag(ridge), gradient)
        weights -= step
        if np.abs(step).max() < CONVERGED:
            break

    def rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(float(f"{value:.6g}") for value in values)

    return ConfidenceCalibration(
        mean=rounded(mean),
        deviation=rounded(deviation),
        low=rounded(low),
        high=rounded(high),
        linear=rounded(weights[:count]),
        square=rounded(weights[count : 2 * count]),
        bias=rounded(weights[-1:])[0],
        products=rounded(weights[2 * count : -1]),
    )
