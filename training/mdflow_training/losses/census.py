# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The soft census distance: how much two images differ around each pixel, independent of brightness.

In the original census, camera noise alone can flip the sign of every tap, especially in dark images. Right and wrong
matches then have similar distances. `Census` adapts to the noise: it blurs the images and uses a larger softness.

Source: UnFlow (Meister, Hur, Roth, AAAI 2018, section 3.3), as in UFlow and DDFlow: luma in 0..255, 7x7 window.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow_ros.core.confidence import CENSUS_ROBUSTNESS, CENSUS_SOFTNESS
from mdflow_training.losses.gaussian_blur import blur_images
from mdflow_training.networks.directions import swap_directions
from mdflow_training.networks.fastflownet import warp

RADIUS = 3
TAPS = (2 * RADIUS + 1) ** 2
SOFTNESS = CENSUS_SOFTNESS
NOISY_SOFTNESS = 25.0
"""Softness for noisy cameras: differences of less than 5 intensity levels count less."""


OFFSETS = [(dy, dx) for dy in range(RADIUS + 1) for dx in range(-RADIUS, RADIUS + 1) if (dy, dx) > (0, 0)]
"""One of each two opposite offsets of the window; see `_Tap`."""


OUTSIDE = 1.0
"""The distance where the window extends beyond the image; larger than every real distance (48/49 * 4/4.1)."""

_Region = tuple[EllipsisType, slice, slice]


def luma(images: Tensor) -> Tensor:
    """Convert RGB images ``(N, 3, H, W)`` in [0, 1] to luma ``(N, 1, H, W)`` in [0, 255] (ITU-R BT.601)."""
    red, green, blue = images.unbind(dim=1)
    return (0.2989 * red + 0.5870 * green + 0.1140 * blue)[:, None] * 255


def census_distance(first: Tensor, second: Tensor, softness: float = SOFTNESS) -> Tensor:
    """Compare the 7x7 surroundings of each pixel: soft Hamming distance, mean over the 49 taps.

    Each tap's difference to the center is squashed to t / sqrt(softness + t^2) in both images, and their difference D
    counts as D^2 / (0.1 + D^2). Adding a constant to an image changes nothing. 0 is a perfect match; random matches
    have a median of about 0.56. Multiply by 49 for UFlow's sum.

    Args:
        first: luma ``(N, 1, H, W)`` in [0, 255]; receives no gradient.
        second: same shape; in a loss, the image warped by the predicted flow.
        softness: in squared intensity levels; differences below its square root count less. 0.81 in all papers.

    Returns:
        ``(N, 1, H, W)`` in [0, 1]; `OUTSIDE` on the border of 3 pixels, where the window extends beyond the image.
    """
    distance: Tensor = _CensusSum.apply(first, second, softness)
    return F.pad(distance / TAPS, [RADIUS] * 4, value=OUTSIDE)


class _CensusSum(torch.autograd.Function):
    """The sum over the taps, ``(N, 1, H - 6, W - 6)``.

    The backward pass recomputes intermediate results instead of storing about 15 images per tap. On a CPU, samples are
    processed one at a time, because one sample fits into the cache. Together these save a third of the time.
    """

    @staticmethod
    def forward(context: Any, first: Tensor, second: Tensor, softness: float) -> Tensor:
        context.save_for_backward(first, second)
        context.softness = softness
        height, width = first.shape[-2:]
        total = first.new_zeros(*first.shape[:-2], height - 2 * RADIUS, width - 2 * RADIUS)
        taps = _taps(height, width)
        for part_of_first, part_of_second, part in zip(*(_parts(t) for t in (first, second, total)), strict=True):
            for tap in taps:
                changes = (tap.difference(image) for image in (part_of_first, part_of_second))
                ternary = [change * torch.rsqrt(softness + change.square()) for change in changes]
                squared = (ternary[0] - ternary[1]).square_()
                distance = squared / (squared + CENSUS_ROBUSTNESS)
                part += distance[tap.seen_from_start]
                part += distance[tap.seen_from_end]
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        first, second = context.saved_tensors
        softness, (height, width) = context.softness, first.shape[-2:]
        to_second = torch.zeros_like(second)
        taps = _taps(height, width)
        parts = (_parts(tensor) for tensor in (first, second, gradients[0], to_second))
        for part_of_first, part_of_second, gradient, result in zip(*parts, strict=True):
            for tap in taps:
                expected, change = tap.difference(part_of_first), tap.difference(part_of_second)
                scale = torch.rsqrt(softness + change.square())
                difference = change * scale - expected * torch.rsqrt(softness + expected.square())
                # For t = c / sqrt(s + c^2), dt/dc = s / sqrt(s + c^2)^3; for D^2 / (r + D^2), 2 r D / (r + D^2)^2.
                slope = torch.zeros_like(difference)
                slope[tap.seen_from_start] += gradient
                slope[tap.seen_from_end] += gradient
                slope *= difference
                slope /= difference.square_().add_(CENSUS_ROBUSTNESS).square_()
                slope *= scale.pow_(3)
                slope *= 2 * CENSUS_ROBUSTNESS * softness
                result[tap.ends] += slope
                result[tap.starts] -= slope
        return None, to_second, None


class _Tap(NamedTuple):
    """Two positions of the window that are compared, as regions of an image ``(N, 1, H, W)``.

    The tap at -d from p equals the negated tap at d from p - d, so half of the window is enough.
    """

    starts: _Region
    ends: _Region
    seen_from_start: _Region
    """Region of the differences that start at a pixel whose window lies fully inside the image."""
    seen_from_end: _Region
    """Region of the differences that end at one of these pixels: its tap on the opposite side."""

    def difference(self, image: Tensor) -> Tensor:
        """Return the ends minus the starts."""
        return image[self.ends] - image[self.starts]


def _taps(height: int, width: int) -> list[_Tap]:
    rows, columns = height - 2 * RADIUS, width - 2 * RADIUS
    taps = []
    for dy, dx in OFFSETS:
        left, right, column = max(-dx, 0), max(dx, 0), RADIUS - max(-dx, 0)
        taps.append(
            _Tap(
                starts=(..., slice(height - dy), slice(left, width - right)),
                ends=(..., slice(dy, height), slice(right, width - left)),
                seen_from_start=(..., slice(RADIUS, RADIUS + rows), slice(column, column + columns)),
                seen_from_end=(
                    *(..., slice(RADIUS - dy, RADIUS - dy + rows)),
                    slice(column - dx, column - dx + columns),
                ),
            )
        )
    return taps


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    return tensor.split(1 if tensor.device.type == "cpu" else len(tensor))


@dataclass(frozen=True)
class Census:
    """The census comparison of images, adapted to the camera's noise.

    Measured on generated scenes with sensor noise of 0 to 5 intensity levels. In dark, noisy images, a 5x5 patch has a
    smaller distance at its true position than 0.5 to 2 px away in 70 % of the cases (60 % with the original census).
    The area under the ROC curve for separating errors below 0.5 px from errors above 2 px rises from 0.57 to 0.70.
    Without noise, the original census is best.

    Attributes:
        blur: standard deviation, in pixels, of the Gaussian applied to both images first.
        softness: see `census_distance`.
    """

    blur: float = 0.0
    softness: float = SOFTNESS

    @staticmethod
    def for_noise(noise: float) -> Census:
        """Return the census for this standard deviation of the luma's noise, in intensity levels (0 to 255)."""
        if noise < 0.7:
            return Census()
        return Census(1.0 if noise < 3 else 2.0, NOISY_SOFTNESS)

    def prepare(self, images: Tensor) -> Tensor:
        """Return the blurred luma ``(N, 1, H, W)`` in [0, 255] of RGB images ``(N, 3, H, W)`` in [0, 1]."""
        prepared = luma(images)
        return prepared if self.blur == 0 else blur_images(prepared, images.new_full((len(images),), self.blur))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare two prepared images, the second one already warped: see `census_distance`."""
        return census_distance(first, second, self.softness)

    def distance_to_match(self, images: Tensor, flow: Tensor) -> Tensor:
        """Compare each pixel with its match in the other image, as given by the flow: see `census_distance`.

        Args:
            images: RGB ``(2N, 3, H, W)`` in [0, 1], stacked: the frame where each flow starts.
            flow: ``(2N, 2, H, W)``, stacked directions, in pixels.
        """
        prepared = self.prepare(images)
        return self.distance(prepared, warp(swap_directions(prepared), flow, padding_mode="border"))


def inside_window(images: Tensor) -> Tensor:
    """Return ``(1, 1, H, W)``: 1 where the census window lies within the image, 0 on the border of 3 pixels."""
    height, width = images.shape[-2:]
    return F.pad(images.new_ones(1, 1, height - 2 * RADIUS, width - 2 * RADIUS), [RADIUS] * 4)
