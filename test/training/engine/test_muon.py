# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Muon: the update of each group's kernel is orthogonal, of the right size, and equal to that of torch's Muon."""

import copy

import pytest
import torch
from torch import nn

from mdflow_training.engine.muon import UPDATE_SIZE, orthogonalized
from mdflow_training.engine.weight_update import WeightUpdate


@pytest.mark.parametrize("shape", [(1, 8, 40), (3, 40, 8), (2, 16, 16)])
def test_singular_values_become_alike(shape):
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.shape[-1] == min(shape[1:])
    assert values.min() > 0.3
    assert values.max() < 1.3


def one_update(network, images):
    """Train one step of Muon with the learning rate 1; return the change of each kernel."""
    before = copy.deepcopy(network.state_dict())
    update = WeightUpdate(network, "muon", weight_decay=0.0, gradient_clip=1e9)
    update.compute_gradient(network(images).square().mean())
    update.step(1.0)
    return {name: value - before[name] for name, value in network.state_dict().items()}


def test_each_group_of_a_convolution_has_its_own_orthogonal_update():
    torch.manual_seed(0)
    network = nn.Conv2d(6, 12, 3, groups=3, bias=False)
    change = one_update(network, torch.randn(2, 6, 16, 16))["weight"].view(3, 4, 18)
    values = torch.linalg.svdvals(change) / (UPDATE_SIZE * 18**0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_equals_torch_where_a_kernel_is_a_matrix():
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        pytest.skip("this torch has no torch.optim.Muon")
    torch.manual_seed(0)
    network = nn.Conv2d(6, 12, 1, bias=False)
    images = torch.randn(2, 6, 16, 16)
    weight = nn.Parameter(network.weight.detach().flatten(1).clone())
    reference = muon([weight], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    update = WeightUpdate(network, "muon", weight_decay=0.1, gradient_clip=1e9)
    for _ in range(3):
        update.compute_gradient(network(images).square().mean())
        update.step(0.01)
        reference.zero_grad()
        torch.einsum("oi,nihw->nohw", weight, images).square().mean().backward()
        reference.step()
    # torch orthogonalizes in bfloat16.
    torch.testing.assert_close(network.weight.flatten(1), weight, atol=1e-3, rtol=0)


def test_all_other_weights_are_updated_by_adamw():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 16, 16)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 2, 3))
    change = one_update(network, images)
    # The first step of AdamW is the learning rate times the sign of the gradient.
    for name in ("0.bias", "1.weight", "1.bias"):
        torch.testing.assert_close(change[name].abs(), torch.ones_like(change[name]), atol=1e-3, rtol=0)
    assert change["0.weight"].abs().mean() < 0.5


def test_frozen_and_unused_weights_stay():
    torch.manual_seed(0)
    used, unused, frozen = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3).requires_grad_(False)
    network = nn.ModuleList([used, unused, frozen])
    before = copy.deepcopy(network.state_dict())
    update = WeightUpdate(network, "muon", weight_decay=0.1, gradient_clip=1e9)
    update.compute_gradient(frozen(used(torch.randn(1, 3, 9, 9))).square().mean())
    update.step(0.1)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0.weight", "0.bias"}


def test_a_resumed_update_continues_exactly():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 2, 3))
    images = torch.randn(2, 3, 16, 16)
    update = WeightUpdate(network, "muon", weight_decay=0.1, gradient_clip=1.0)

    def step(network, update):
        update.compute_gradient(network(images).square().mean())
        update.step(0.01)

    step(network, update)
    resumed = copy.deepcopy(network)
    resumed_update = WeightUpdate(resumed, "muon", weight_decay=0.1, gradient_clip=1.0)
    resumed_update.load_state_dict(copy.deepcopy(update.state_dict()))
    for each in ((network, update), (resumed, resumed_update)):
        step(*each)
    for ours, theirs in zip(network.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)
