# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The cost volume by rows is the sum of shifted products that FastFlowNet's paper describes."""

import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch
import torch.nn.functional as F

from mdflow_ros.model.architecture import SEARCH_RADIUS, kept_displacements
from mdflow_training.networks.cost_volume import cost_volume


def shifted_products(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    height, width = first.shape[-2:]
    padded = F.pad(second, [SEARCH_RADIUS] * 4)
    costs = [
        (first * padded[..., SEARCH_RADIUS + dy :, SEARCH_RADIUS + dx :][..., :height, :width]).mean(dim=1)
        for dx, dy in kept_displacements()
    ]
    return torch.stack(costs, dim=1)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (16, 12)])
def test_each_channel_is_the_mean_product_at_one_displacement(size: tuple[int, int]) -> None:
    first, second = torch.randn(2, 2, 3, *size, dtype=torch.double)
    torch.testing.assert_close(cost_volume(first, second), shifted_products(first, second))


def test_the_gradient_is_exact() -> None:
    first, second = torch.randn(2, 1, 3, 5, 7, dtype=torch.double)
    assert torch.autograd.gradcheck(cost_volume, (first.requires_grad_(), second.requires_grad_()))
