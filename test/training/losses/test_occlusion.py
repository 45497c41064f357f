# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import torch

from mdflow_training.losses.occlusion import OcclusionMask, forward_backward_visibility, leads_inside
from mdflow_training.networks.directions import stack_directions
from mdflow_training.networks.fastflownet import warp
from mdflow_training.settings.adaptation import OcclusionSettings


def constant_flow(u: float, v: float, size: tuple[int, int] = (20, 30)) -> torch.Tensor:
    return torch.tensor([u, v], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, *size).contiguous()


def test_warp_by_nothing_and_by_whole_pixels():
    image = torch.rand(1, 3, 20, 30)
    assert torch.allclose(warp(image, constant_flow(0, 0)), image, atol=1e-5)
    shifted = warp(image, constant_flow(4, -3))
    assert torch.allclose(shifted[..., 3:, :-4], image[..., :-3, 4:], atol=1e-5)
    assert torch.allclose(
        warp(image, constant_flow(2.5, 0))[..., :-3], image[..., 2:-1].lerp(image[..., 3:], 0.5), atol=1e-5
    )


def test_consistent_flow_is_visible_except_where_it_leaves_the_frame():
    flow = stack_directions(constant_flow(5, 0), constant_flow(-5, 0))
    visible = forward_backward_visibility(flow, -flow)
    assert visible.shape == (2, 1, 20, 30)
    assert visible[0, ..., :25].all() and not visible[0, ..., 26:].any()
    assert visible[1, ..., 5:].all() and not visible[1, ..., :4].any()


def test_contradicting_flow_is_occluded_and_small_contradictions_are_not():
    assert not forward_backward_visibility(constant_flow(5, 0), constant_flow(5, 0)).any()
    assert forward_backward_visibility(constant_flow(0.3, 0), constant_flow(0.3, 0))[..., 1:-1].all()
    # |0.75|^2 = 0.5625 exceeds 0.5 + 0.01 * 0.5625
    assert not forward_backward_visibility(constant_flow(0.75, 0), constant_flow(0, 0)).any()


def test_flow_leads_inside_up_to_the_centers_of_the_outermost_pixels():
    inside = leads_inside(stack_directions(constant_flow(4, -2), constant_flow(-4, 2)))
    assert inside.shape == (2, 1, 20, 30)
    assert inside[0, :, 2:, :26].all() and inside[0].sum() == 18 * 26
    assert inside[1, :, :18, 4:].all() and inside[1].sum() == 18 * 26


def test_masks_carry_no_gradient():
    flow = constant_flow(1, 0).requires_grad_()
    assert not forward_backward_visibility(flow, -flow).requires_grad


def test_the_mask_of_a_training_from_scratch_waits_for_sensible_flow():
    mask = OcclusionMask(OcclusionSettings(start=0.2, minimum_visible=0.5))
    contradicting = stack_directions(constant_flow(5, 0), constant_flow(5, 0))
    used, share = mask(contradicting)
    assert used.all() and share == 0
    for step in range(100):
        mask.observe(0.1, step / 100)
    assert mask(contradicting)[0].all(), "the flow is not sensible yet"
    resumed = OcclusionMask(mask.settings)
    resumed.load_state_dict(mask.state_dict())
    for _ in range(100):
        resumed.observe(0.9, 0.1)
    assert resumed(contradicting)[0].all(), "its share of the stage has not passed yet"
    resumed.observe(0.9, 0.3)
    assert not resumed(contradicting)[0].any()


def test_the_mask_of_a_trained_network_is_on_at_once():
    mask = OcclusionMask(OcclusionSettings(start=0))
    assert not mask(stack_directions(constant_flow(5, 0), constant_flow(5, 0)))[0].any()
