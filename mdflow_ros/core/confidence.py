# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence: the probability that the flow is within 1 pixel or 5 % of the ground truth.

MDFlow calls a match reliable if the backward flow leads back to its start (visibility) and if both neighborhoods look
alike (census distance). Here both tests give a number instead of yes or no. A logistic regression, fitted on generated
pairs with ground truth, turns these and other cues, computed from the flow and the images, into the probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import (
    Size,
    resize_field,
    resize_flow,
    scale_between,
    scale_vectors,
    scaled_size,
    size_of,
)

Field = NDArray[np.float32]

RIGHT_PIXELS, RIGHT_SHARE = 1.0, 0.05
"""A flow is right if its error is at most 1 pixel or 5 % of the true length; confidence is the probability of that."""

CUES = (
    "visibility",
    "census",
    "gradient",
    "refinement",
    "update",
    "texture",
    "outside",
    "noise",
    "near_census",
    "near_gradient",
    "far_texture",
    "boundary",
)
"""The cues that the probability is computed from, in the order of the coefficients in a model's card. Only append:
older cards have coefficients for the first cues only."""

MIN_CUES = 5
"""Every card has coefficients for at least this many cues."""

SCALE = 0.5
"""Cues are computed on images scaled by this factor: this is four times cheaper, and noise averages out."""

BOX = 11
"""Side of the box that smooths census distance, gradient, refinement and texture, in pixels of the scaled images."""

NEAR_BOX = 5
"""Side of a smaller box for census distance and gradient, which shows motion boundaries more sharply."""

FAR_BOX = 41
"""Side of a larger box for texture, in pixels of the scaled images. Flow of a surface without texture is often right
near the surface's outline, and rarely elsewhere."""

BOUNDARY_BOX = 9
"""Side of the box over which the maximum gradient of the flow is taken, in pixels of the scaled images. Flow is often
wrong near a motion boundary."""

BLOCK_MULTIPLICATIONS = 220_000
"""The probability is computed in blocks of pixels whose matrix product has at most this many multiplications. OpenBLAS
computes large products on several threads, which compete with those of the inference engine. Measured with NumPy 2.4:
one thread for 590,000 multiplications, two for 1,180,000."""

MAX_DISTANCE = 10.0
"""Distances from the image's border are clipped to this, in pixels of the scaled images."""

RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.01, 0.5
"""Constants of the forward-backward test: |f + b'|^2 < 0.01 (|f|^2 + |b'|^2) + 0.5 (UnFlow, Meister et al., 2018)."""

CENSUS_SOFTNESS, CENSUS_ROBUSTNESS = 0.81, 0.1
"""Constants of the soft ternary census: difference / sqrt(0.81 + difference^2), distance^2 / (0.1 + distance^2)."""

NOISE_FACTOR = 3.0
"""Intensity differences up to this many standard deviations of the camera's noise hardly count in the census."""

NOISE_GRADIENT = 12 / 64
"""Variance of the derivative of noise with variance 1: the sum of the squared weights of the Sobel kernel,
(1, 2, 1) x (-1, 0, 1) / 8."""


@dataclass(frozen=True)
class ConfidenceCalibration:
    """A logistic regression over the cues, their squares, and the products of every two.

    With ``z = (clip(cue, low, high) - mean) / deviation``, the logit of the probability is
    ``bias + sum(linear * z) + sum(square * z**2) + sum(products[i, j] * z[i] * z[j])`` over all ``i < j``.

    Attributes:
        mean: of each cue, in the order of `CUES`, for the first `MIN_CUES` or more.
        deviation: standard deviation of each cue.
        low: smallest value of each cue in the fit.
        high: largest value of each cue in the fit.
        linear: weight of each ``z``.
        square: weight of each ``z**2``.
        bias: the constant.
        products: weights of the products of cues 0 and 1, 0 and 2, .. 1 and 2, ..; empty, as in older cards, for zeros.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    linear: tuple[float, ...]
    square: tuple[float, ...]
    bias: float
    products: tuple[float, ...] = ()

    def probability(self, cues: Sequence[Field]) -> Field:
        """Return the probability ``(H, W)`` in [0, 1] for `compute_cues`' cues, each ``(H, W)``."""
        form, linear, bias = self._polynomial()
        low, high = (np.array(limits, np.float32)[:, None] for limits in (self.low, self.high))
        flat = [cue.ravel() for cue in cues[: len(low)]]
        logit = np.full(cues[0].size, bias, np.float32)
        pixels = BLOCK_MULTIPLICATIONS // form.size
        for start in range(0, len(logit), pixels):
            block = slice(start, start + pixels)
            values = np.stack([cue[block] for cue in flat])
            np.minimum(np.maximum(values, low, out=values), high, out=values)
            weights = form @ values
            weights += linear
            weights *= values
            logit[block] += weights.sum(axis=0)
        return np.asarray(1 / (1 + np.exp(-logit)), np.float32).reshape(cues[0].shape)

    def _polynomial(self) -> tuple[Field, Field, float]:
        """Return the weights ``(M, M)`` of products and ``(M, 1)`` of the clipped cues themselves, and the constant."""
        form = np.diag(np.array(self.square))
        if self.products:
            form[np.triu_indices(len(form), 1)] = self.products
        form /= np.outer(self.deviation, self.deviation)
        mean, linear = np.array(self.mean), np.array(self.linear) / self.deviation
        constant = self.bias - linear @ mean + mean @ form @ mean
        linear -= (form + form.T) @ mean
        return form.astype(np.float32), linear[:, None].astype(np.float32), float(constant)


_ZEROS, _ONES = (0.0,) * MIN_CUES, (1.0,) * MIN_CUES
UNCALIBRATED = ConfidenceCalibration(
    _ZEROS, _ONES, (-1e9,) * MIN_CUES, (1e9,) * MIN_CUES, (-1.0,) * MIN_CUES, _ZEROS, 0.0
)
"""A probability that falls with each of the first `MIN_CUES` cues, for models that are not calibrated yet."""


@dataclass(frozen=True)
class FlowEvidence:
    """The flow fields that the confidence is computed from; they may have any resolution.

    Attributes:
        flow: ``(H, W, 2)``, refined, in pixels of its own size.
        network_flow: ``(h, w, 2)``, the same before refinement, in pixels of the network's images.
        coarser: ``(h / 2, w / 2, 2)``, the network's flow at the next coarser level, in the same pixels.
        backward: ``(h', w', 2)``, the network's flow from the second image to the first, in the same pixels.
        network_size: size of the network's images.
    """

    flow: Field
    network_flow: Field
    coarser: Field
    backward: Field
    network_size: Size


def compute_cues(first: NDArray[np.uint8], second: NDArray[np.uint8], evidence: FlowEvidence) -> list[Field]:
    """Return the cues, in the order of `CUES`, each ``(h, w)`` at half the images' size.

    Args:
        first: gray image ``(H, W)`` uint8.
        second: the other one.
        evidence: the flow and where it comes from.
    """
    image_size = size_of(first)
    size = scaled_size(image_size, SCALE)
    gray, other = (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) for image in (first, second)
    )
    flow = resize_flow(evidence.flow, size)
    to_image = scale_between(evidence.network_size, image_size)
    network_flow = resize_field(scale_vectors(evidence.network_flow, to_image), size)
    refined_by = scale_vectors(flow, scale_between(size, image_size)) - network_flow
    noise = camera_noise(gray)
    census, gradient = _census_distance(gray, _warp(other, flow), noise), _squared_gradient(flow)
    structure = _structure(gray)
    return [
        resize_field(_visibility(evidence, to_image), size),
        np.log(_box(census, BOX) + 0.01),
        np.log(_box(gradient, BOX) + 1e-3),
        np.log(_box(_squared_length(refined_by), BOX) + 3e-3),
        resize_field(_update(evidence, to_image), size),
        np.log(_texture(structure, noise, BOX) + 0.03),
        _outside(flow),
        np.full_like(gray, np.log(noise + 0.3)),
        np.log(_box(census, NEAR_BOX) + 0.01),
        np.log(_box(gradient, NEAR_BOX) + 1e-3),
        np.log(_texture(structure, noise, FAR_BOX) + 0.03),
        np.log(cv2.dilate(gradient, np.ones((BOUNDARY_BOX, BOUNDARY_BOX), np.uint8)) + 1e-3),
    ]


def camera_noise(gray: Field) -> float:
    """Return the standard deviation of an image's noise, in intensity levels.

    Source: Immerkaer, Fast Noise Variance Estimation, CVIU 1996, with the median in place of the mean.

    Args:
        gray: ``(H, W)``.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    second_difference = cv2.filter2D(gray, -1, kernel)[1:-1:2, 1:-1:2]
    return float(np.median(np.abs(second_difference))) / (6 * 0.6745)


def _visibility(evidence: FlowEvidence, to_image: Field) -> Field:
    """Return the logarithm of the forward-backward error, relative to what MDFlow's test allows."""
    size = size_of(evidence.network_flow)
    flow = scale_vectors(evidence.network_flow, to_image)
    backward = resize_field(scale_vectors(evidence.backward, to_image), size)
    returned = _warp(backward, scale_vectors(evidence.network_flow, scale_between(evidence.network_size, size)))
    miss = _squared_length(flow + returned)
    lengths = _squared_length(flow) + _squared_length(returned)
    return np.asarray(np.log((miss + 0.01) / (RELATIVE_TOLERANCE * lengths + ABSOLUTE_TOLERANCE)), np.float32)


def _update(evidence: FlowEvidence, to_image: Field) -> Field:
    """Return the logarithm of the squared length of the network's last update, between its last two levels."""
    size = size_of(evidence.network_flow)
    change = evidence.network_flow - resize_field(evidence.coarser, size)
    return _box(np.log(_squared_length(scale_vectors(change, to_image)) + np.float32(0.01)), 3)


def _census_distance(gray: Field, other: Field, noise: float) -> Field:
    """Return the soft census distance of 3x3 neighborhoods, in [0, 1)."""
    softness = np.float32(CENSUS_SOFTNESS + (NOISE_FACTOR * noise) ** 2)
    height, width = gray.shape
    padded = [cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_REPLICATE) for image in (gray, other)]
    total = np.zeros_like(gray)
    offsets = ((0, 1), (1, -1), (1, 0), (1, 1))  # the opposite four compare the same pairs of pixels
    for down, right in offsets:
        window = (slice(1 + down, 1 + down + height), slice(1 + right, 1 + right + width))
        differences = [image[window] - center for image, center in zip(padded, (gray, other), strict=True)]
        ternary = [difference / np.sqrt(softness + difference * difference) for difference in differences]
        distance = (ternary[0] - ternary[1]) ** 2
        total += distance / (np.float32(CENSUS_ROBUSTNESS) + distance)
    return total / np.float32(len(offsets))


def _structure(gray: Field) -> tuple[Field, Field, Field]:
    """Return the products of the derivatives of an image across (x) and down (y): xx, xy and yy."""
    across, down = _derivatives(gray)
    return across * across, across * down, down * down


def _texture(structure: tuple[Field, Field, Field], noise: float, side: int) -> Field:
    """Return the smaller eigenvalue of the structure tensor over a box, minus that of the noise.

    Where it is 0, the images alone do not tell the flow (Shi & Tomasi, CVPR 1994).
    """
    xx, xy, yy = (_box(product, side) for product in structure)
    smaller_eigenvalue = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.maximum(smaller_eigenvalue - np.float32(NOISE_GRADIENT * noise**2), 0)


def _outside(flow: Field) -> Field:
    """Return the distance of ``p + flow(p)`` from the image's border, positive outside, within +-`MAX_DISTANCE`."""
    x, y = _targets(flow)
    height, width = flow.shape[:2]
    distance = np.maximum(np.maximum(-x, x - (width - 1)), np.maximum(-y, y - (height - 1)))
    return np.clip(distance, -MAX_DISTANCE, MAX_DISTANCE)


def _squared_gradient(flow: Field) -> Field:
    """Return the sum of the squared derivatives of a flow ``(H, W, 2)``."""
    across, down = _derivatives(flow)
    return _squared_length(across) + _squared_length(down)


def _squared_length(vectors: Field) -> Field:
    """Return the squared lengths of vectors ``(H, W, 2)``; a numpy sum over an axis of two is 20 times slower."""
    x, y = vectors[..., 0], vectors[..., 1]
    return x * x + y * y


def _derivatives(field: Field) -> tuple[Field, Field]:
    """Return the derivatives across and down, per pixel."""
    across, down = (cv2.Sobel(field, -1, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _warp(field: Field, flow: Field) -> Field:
    """Sample ``field`` at ``p + flow(p)``; outside, its border is repeated."""
    return np.asarray(cv2.remap(field, *_targets(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _targets(flow: Field) -> tuple[Field, Field]:
    """Return the columns and the rows of ``p + flow(p)``."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def _box(field: Field, side: int) -> Field:
    return np.asarray(cv2.blur(field, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)
