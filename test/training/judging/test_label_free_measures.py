# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The label-free measures of simple flows, in numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from mdflow_ros.core.resizing import Size
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.judging.held_out_metrics import census_where_visible, measure_pair
from mdflow_training.judging.label_free_score import LabelFreeScore, match_error, match_measures, validate
from mdflow_training.judging.two_way_flow import TwoWayFlow
from mdflow_training.losses.census import Census, census_distance, luma
from mdflow_training.settings.adaptation import ValidationSettings

SIZE = (20, 40)
GRAY = torch.full((2, 3, *SIZE), 0.5)
"""Two uniform frames: only matches outside the frame have a census distance."""


def flow_to_the_right(forward: float, backward: float) -> torch.Tensor:
    flow = torch.zeros(2, 2, *SIZE)
    flow[0, 0], flow[1, 0] = forward, backward
    return flow


def test_a_match_outside_the_frame_counts_as_a_random_one() -> None:
    census, disagreement, visible = match_measures(GRAY, flow_to_the_right(10, -10), Census())
    # Of the 34 columns with a whole window, 3 to 36, the last 7 lead outside; of the way back, the first 7.
    assert float(census) == pytest.approx(0.56 * 7 / 34, rel=1e-5)
    assert float(disagreement) == 0 and float(visible) == pytest.approx(30 / 40)


def test_disagreement_is_relative_to_the_length_and_known_in_view() -> None:
    _, disagreement, visible = match_measures(GRAY, flow_to_the_right(10, -8), Census())
    relative = 2 / (9 + 1)  # 2 pixels missed, 9 the mean length
    assert float(disagreement) == pytest.approx(relative * (27 + 29) / (2 * 34), rel=1e-5)
    assert float(visible) == 0
    _, disagreement, _ = match_measures(GRAY, flow_to_the_right(10, 10), Census())
    assert float(disagreement) == pytest.approx((27 + 27) / (2 * 34)), "at most 1"


def test_random_images_count_no_more_than_random_matches() -> None:
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    census, _, visible = match_measures(images, flow_to_the_right(0, 0), Census())
    distance = census_distance(*luma(images)[:, None])[..., 3:-3, 3:-3]
    assert float(visible) == 1
    assert float(census) == pytest.approx(float(distance.clamp(max=0.56).mean()), rel=1e-4)
    assert census_where_visible(images, flow_to_the_right(0, 0), Census()) == pytest.approx(
        float(distance.mean()), rel=1e-4
    )
    assert math.isnan(census_where_visible(images, flow_to_the_right(10, 10), Census()))


def test_a_pair_is_measured_by_what_is_known_of_it() -> None:
    image = np.full((*SIZE, 3), 128, np.uint8)
    forward = np.zeros((*SIZE, 2), np.float32)
    truth, confidence = forward.copy(), np.full(SIZE, 0.4, np.float32)
    truth[:10], truth[:5, :, 0] = (3, 4), np.nan
    confidence[:15] = 0.5
    flow = TwoWayFlow(forward, forward, confidence)
    metrics = measure_pair(image, image, flow, lambda *_: flow, Census(), truth)
    assert metrics["epe"] == pytest.approx(5 * 5 / 15)  # of 15 rows with ground truth, 5 are off by 5 pixels
    assert metrics["coverage"] == 15 / 20 and metrics["consistency"] == 1
    assert metrics["match_error"] == 0 and math.isnan(metrics["extrapolation"]), "too small for a part"
    unknown = measure_pair(image, image, TwoWayFlow(forward, forward), lambda *_: flow, Census(), None)
    assert all(math.isnan(unknown[name]) for name in ("epe", "ause", "coverage", "known_motion_error"))


def test_the_match_error_adds_what_leaves_a_part_of_the_view() -> None:
    size = (192, 256)
    image = np.full((*size, 3), 128, np.uint8)
    forward = np.zeros((*size, 2), np.float32)
    forward[..., 0] = 8
    flow = TwoWayFlow(forward, -forward)

    def still(first: np.ndarray, second: np.ndarray) -> TwoWayFlow:
        """Return zero flow for the crop, which is 192 columns wide."""
        assert first.shape == second.shape == (128, 192, 3)
        return TwoWayFlow(*np.zeros((2, *first.shape[:2], 2), np.float32))

    metrics = measure_pair(image, image, flow, still, Census(), None)
    outside, left = (8 - 3) / (256 - 6), 8 / 192
    assert metrics["extrapolation"] == pytest.approx(left * 8 / (8 + 1), rel=1e-4)
    assert metrics["match_error"] == pytest.approx(0.56 * outside + 0.56 * metrics["extrapolation"], rel=1e-4)


class MovesTheWhole(torch.nn.Module):
    """A network whose flow points right by the brightness of a whole image, and is zero for a crop."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        flow = torch.zeros(2, 2, first.shape[-2] // 4, first.shape[-1] // 4)
        if first.shape[-1] == 256:
            flow[0, 0], flow[1, 0] = 255 * first.mean(), -255 * second.mean()
        return [flow]


def test_a_network_gets_the_mean_score_of_its_pairs() -> None:
    images = [np.full((192, 256, 3), brightness, np.uint8) for brightness in (8, 16)]
    network, alone = MovesTheWhole(), ProcessContext(0, 1, torch.device("cpu"))
    pairs = [(image, image) for image in images]
    score = validate(network, pairs, Size(256, 192), ValidationSettings(), alone, Census())  # type: ignore[arg-type]
    assert score.census == pytest.approx(0.56 * (5 + 13) / 2 / 250, rel=1e-4)
    assert score.extrapolation == pytest.approx((8 / 192 * 8 / 9 + 16 / 192 * 16 / 17) / 2, rel=1e-4)
    assert score.disagreement == 0 and score.visible == pytest.approx(1 - 12 / 256)
    assert score.error == pytest.approx(score.census + 0.56 * score.extrapolation, rel=1e-4)
    assert not network.training


def test_the_match_error_is_the_weighted_sum() -> None:
    assert match_error(census=0.1, disagreement=0.4, extrapolation=0.5) == pytest.approx(0.1 + 0.05 * 0.4 + 0.56 * 0.5)


def test_a_better_score_is_lower_by_a_share_of_the_others() -> None:
    old, new = LabelFreeScore(0.2, 0.2, 0, 1, 0), LabelFreeScore(0.19, 0.19, 0, 1, 0)
    assert new.is_better_than(old) and new.is_better_than(old, 0.04)
    assert not new.is_better_than(old, 0.06) and not old.is_better_than(new) and not old.is_better_than(old)
