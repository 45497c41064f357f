# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Change the appearance of a pair but not its geometry.

The order of the changes is: brightness, contrast, saturation, gamma, blur, noise. They follow ARFlow with two
differences. ARFlow blurs before it applies gamma. And ARFlow changes contrast and saturation about the luma; here, both
change about the mean of the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mdflow_training.losses.gaussian_blur import blur_images
from mdflow_training.networks.directions import stack_directions
from mdflow_training.settings.adaptation import AppearanceSettings


class AppearanceChange(NamedTuple):
    """The changes of ``2N`` stacked frames."""

    parameters: Tensor
    """``(2N, 6)``: brightness, contrast, saturation, gamma, blur and noise of each frame."""
    seeds: list[int]
    """Seed of the noise of each frame."""

    def __call__(self, images: Tensor) -> Tensor:
        """Change stacked images ``(2N, 3, H, W)`` in [0, 1]; the result is in [0, 1] too."""
        columns = self.parameters.to(images)[..., None, None, None].unbind(dim=1)
        brightness, contrast, saturation, gamma, blur, noise = columns
        images = images * brightness
        images = _blend(images, images.mean(dim=(1, 2, 3), keepdim=True), contrast)
        images = _blend(images, images.mean(dim=1, keepdim=True), saturation)
        images = blur_images(images.clamp(0, 1) ** gamma, blur.flatten())
        return (images + noise * self._draw_noise(images)).clamp(0, 1)

    def _draw_noise(self, images: Tensor) -> Tensor:
        samples = []
        for image, seed in zip(images, self.seeds, strict=True):
            generator = torch.Generator(images.device).manual_seed(seed)
            samples.append(torch.randn(image.shape, generator=generator, device=images.device))
        return torch.stack(samples)


def draw_appearance_change(settings: AppearanceSettings, generators: Sequence[torch.Generator]) -> AppearanceChange:
    """Draw the changes of N pairs, one generator (on the CPU) per pair.

    Both frames of a pair get the same changes, but different noise. With the probability ``settings.asymmetric``, their
    changes differ, too.
    """
    first, second, seeds = [], [], []
    for generator in generators:
        change, other_change = _draw_frame(settings, generator), _draw_frame(settings, generator)
        different = float(torch.rand((), generator=generator)) < settings.asymmetric
        first.append(change)
        second.append(other_change if different else change)
        seeds.append(torch.randint(2**62, (2,), generator=generator).tolist())
    parameters = stack_directions(torch.stack(first), torch.stack(second))
    return AppearanceChange(parameters, seeds=[one for one, _ in seeds] + [two for _, two in seeds])


def _draw_frame(settings: AppearanceSettings, generator: torch.Generator) -> Tensor:
    random = torch.rand(7, generator=generator)
    brightness = 1 + settings.brightness * (2 * random[0] - 1)
    contrast = 1 + settings.contrast * (2 * random[1] - 1)
    saturation = 1 + settings.saturation * (2 * random[2] - 1)
    gamma = settings.gamma[0] + (settings.gamma[1] - settings.gamma[0]) * random[3]
    blur = settings.blur * random[4] * (random[5] < settings.blur_probability)
    return torch.stack((brightness, contrast, saturation, gamma, blur, settings.noise * random[6]))


def _blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Mix ``images`` with ``other``; a share of 1 keeps the images, and a share above 1 enlarges the difference."""
    return other + (images - other) * share
