# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from textured_pairs import AffinePair

from mdflow_training.losses.census import Census
from mdflow_training.losses.distillation import masked_error, sequence_loss
from mdflow_training.losses.match_selection import SELECTIONS, match_reliability, select_matches
from mdflow_training.networks.directions import stack_directions
from mdflow_training.settings.adaptation import SelectionSettings


def test_masked_error_counts_only_the_mask_and_gives_labels_no_gradient():
    label = torch.zeros(1, 2, 8, 8, requires_grad=True)
    prediction = torch.zeros(1, 2, 8, 8)
    prediction[:, 0, :, :4] = 3
    prediction[:, 1, :, :4] = -4
    prediction.requires_grad_()
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    mask.requires_grad_()
    loss = masked_error(prediction, label, mask)
    assert float(loss.detach()) == pytest.approx(7, abs=1e-4)
    assert float(masked_error(prediction, label, mask, "endpoint")) == pytest.approx(5, abs=1e-3)
    loss.backward()
    assert label.grad is None and mask.grad is None
    assert prediction.grad is not None and not prediction.grad[..., 2:].any()


def test_labels_of_absurd_length_are_left_out():
    label = torch.zeros(1, 2, 4, 4)
    label[:, 0, 0, 0] = 500
    assert float(masked_error(torch.zeros_like(label), label, torch.ones(1, 1, 4, 4))) == 0


def test_sequence_loss_weighs_later_predictions_more():
    label, mask = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    predictions = [torch.ones(1, 2, 4, 4), torch.ones(1, 2, 16, 16)]
    assert float(sequence_loss(predictions, label, mask, decay=0.8)) == pytest.approx(2 * (0.8 + 1), abs=1e-4)
    predictions[0] *= 100
    assert float(sequence_loss(predictions, label, mask, decay=0.0)) == pytest.approx(2, abs=1e-4), "the last alone"


def test_predictions_of_frozen_decoders_are_left_out_while_others_learn():
    label, mask = torch.zeros(1, 2, 16, 16), torch.ones(1, 1, 16, 16)
    frozen, learned = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 16, 16, requires_grad=True)
    loss = sequence_loss([frozen, learned, frozen], label, mask, decay=0.5)
    assert float(loss.detach()) == pytest.approx(2 * 0.5, abs=1e-4)
    loss.backward()
    assert learned.grad is not None and bool(learned.grad.any())


def wrong_on_the_right(pair: AffinePair) -> torch.Tensor:
    """Stacked flow that is right on the left and inconsistent or mismatched on the right."""
    forward, backward = pair.forward.clone(), pair.backward.clone()
    forward[..., 48:] += 6
    return stack_directions(forward, backward)


@pytest.mark.parametrize("rule", list(SELECTIONS))
def test_reliable_matches_are_visible_ones_that_look_alike(rule: str):
    pair = AffinePair((64, 96), (3.0, 1.0), 0.01)
    source = stack_directions(pair.first, pair.second)
    matches = select_matches(
        source, wrong_on_the_right(pair), SelectionSettings(rule=rule), "forward_backward", Census()
    )
    assert matches.reliable.shape == (2, 1, 64, 96)
    assert set(matches.reliable.unique().tolist()) <= {0.0, 1.0}
    if rule in ("threshold", "quantile", "visible"):
        assert (matches.reliable <= matches.visible).all()
    if rule in ("threshold", "census"):
        assert (matches.distance[matches.reliable.bool()] <= 0.3).all()
        assert matches.reliable[0, 0, 8:-8, 8:40].mean() > 0.95 > 0.3 > matches.reliable[0, 0, :, 52:].mean()
    if rule == "quantile":
        inside = matches.visible.bool() & (matches.distance < 1)
        shares = matches.reliable.sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3))
        assert torch.allclose(shares, torch.tensor(0.75), atol=0.02)
    if rule == "all":
        assert matches.reliable.all()


def test_a_smaller_tau_keeps_fewer_and_better_matches():
    torch.manual_seed(0)
    pair = AffinePair((64, 96), (3.0, 1.0))
    noise = torch.nn.functional.interpolate(torch.randn(2, 2, 8, 12), (64, 96), mode="bilinear") * 2
    ground_truth = stack_directions(pair.forward, pair.backward)
    error = noise.norm(dim=1, keepdim=True)
    kept, errors = [], []
    for threshold in (0.05, 0.15, 0.3):
        matches = select_matches(
            stack_directions(pair.first, pair.second),
            ground_truth + noise,
            SelectionSettings(threshold=threshold),
            "none",
            Census(),
        )
        kept.append(float(matches.reliable.mean()))
        errors.append(float(error[matches.reliable.bool()].mean()))
    assert kept == sorted(kept) and kept[0] < kept[-1]
    assert errors == sorted(errors) and errors[-1] < float(error.mean())


def test_a_pair_without_any_visible_pixel_has_no_reliable_match():
    pair = AffinePair((64, 96), (3.0, 1.0))
    flow = torch.full((2, 2, 64, 96), 40.0)
    matches = select_matches(
        stack_directions(pair.first, pair.second),
        flow,
        SelectionSettings(rule="quantile"),
        "forward_backward",
        Census(),
    )
    assert not matches.reliable.any()


def test_confidence_is_zero_where_hidden_and_falls_with_distance():
    pair = AffinePair((64, 96), (3.0, 1.0), 0.01)
    matches = select_matches(
        stack_directions(pair.first, pair.second),
        wrong_on_the_right(pair),
        SelectionSettings(),
        "forward_backward",
        Census(),
    )
    values = match_reliability(matches, 0.3)
    assert values.min() == 0 and values.max() <= 1
    assert not values[~matches.visible.bool()].any()
    assert values[0, 0, 8:-8, 8:40].mean() > values[0, 0, 8:-8, 50:].mean()
