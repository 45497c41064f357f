# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Blur each image with a Gaussian of a different width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur_images(images: Tensor, deviations: Tensor) -> Tensor:
    """Blur each image with a Gaussian of the width given for this image.

    Args:
        images: ``(N, C, H, W)``.
        deviations: ``(N,)``, standard deviations in pixels; 0 leaves an image unchanged.

    Returns:
        The blurred images, ``(N, C, H, W)``.
    """
    radius = int(torch.ceil(2 * deviations.max()))
    if radius == 0:
        return images
    count, channels, height, width = images.shape
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-offsets.square() / (2 * deviations.clamp(min=1e-3)[:, None].square()))
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]
    planes = F.pad(images.reshape(1, count * channels, height, width), [radius] * 4, mode="replicate")
    planes = F.conv2d(planes, kernels[..., None, :], groups=count * channels)
    planes = F.conv2d(planes, kernels[..., None], groups=count * channels)
    return planes.view(count, channels, height, width)
