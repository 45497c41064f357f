# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mdflow_training.evaluation.flow_metrics import FlowMetrics, OcclusionScore, endpoint_error


def row(*vectors):
    return np.array([vectors], np.float32)


UNKNOWN = (np.nan, np.nan)


def metrics_of(*pairs):
    metrics = FlowMetrics()
    for flow, ground_truth, *visible in pairs:
        metrics.add(endpoint_error(flow, ground_truth), ground_truth, *visible)
    return metrics.summary()


def test_endpoint_error_is_the_euclidean_distance():
    error = endpoint_error(row((3, 4), (1, 1), (9, 9)), row((0, 0), (1, 1), UNKNOWN))
    np.testing.assert_array_equal(error, [[5, 0, np.nan]])


def test_epe_is_the_mean_of_images_and_epe_pixels_of_pixels():
    small = (row((1, 0)), row((0, 0)))
    large = (row((4, 0), (4, 0), (4, 0)), row((0, 0), (0, 0), (0, 0)))
    summary = metrics_of(small, large)
    assert summary["epe"] == pytest.approx((1 + 4) / 2)
    assert summary["epe_pixels"] == pytest.approx((1 + 3 * 4) / 4)
    assert (summary["images"], summary["pixels"]) == (2, 4)


def test_pixels_of_unknown_truth_do_not_count():
    summary = metrics_of((row((7, 0), (2, 0)), row(UNKNOWN, (0, 0))))
    assert summary["epe"] == summary["epe_pixels"] == 2
    assert summary["pixels"] == 1


def test_accuracy_counts_pixels_up_to_the_limit():
    summary = metrics_of((row((1, 0), (1.5, 0), (4, 0), (6, 0)), np.zeros((1, 4, 2), np.float32)))
    assert [summary[f"accuracy_{limit}px"] for limit in (1, 3, 5)] == [25, 50, 75]


def test_fl_needs_more_than_3_px_and_more_than_5_percent():
    ground_truth = row((0, 0), (100, 0), (100, 0), (10, 0))
    off_by = row((3.5, 0), (4, 0), (6, 0), (2, 0))  # outlier; only 4 %; outlier; 20 % but only 2 px
    assert metrics_of((ground_truth + off_by, ground_truth))["fl_all"] == 50


def test_regions_of_visible_and_occluded_pixels():
    ground_truth = row((0, 0), (0, 0), (0, 0), UNKNOWN)
    visible = np.array([[True, True, False, False]])
    summary = metrics_of((row((1, 0), (3, 0), (8, 0), (50, 0)), ground_truth, visible))
    assert (summary["epe_noc"], summary["epe_occ"]) == (2, 8)
    assert (summary["fl_noc"], summary["fl_occ"]) == (0, 100)
    assert "epe_noc" not in metrics_of((ground_truth[:, :3], ground_truth[:, :3]))


def test_speed_regions_go_by_the_true_length():
    ground_truth = row((0, 0), (9.9, 0), (10, 0), (0, 39), (40, 0), (300, 0))
    summary = metrics_of((ground_truth + row((1, 0), (3, 0), (2, 0), (4, 0), (5, 0), (7, 0)), ground_truth))
    assert summary["epe_speed_0_10"] == pytest.approx(2)
    assert summary["epe_speed_10_40"] == pytest.approx((2 + np.hypot(4, 0)) / 2)
    assert summary["epe_speed_40_plus"] == pytest.approx(6)


def test_occlusion_f1():
    score = OcclusionScore()
    ground_truth = np.array([[True, True, True, False, False, True]])
    occluded = np.array([[True, True, False, True, False, False]])
    known = np.array([[True, True, True, True, True, False]])
    score.add(occluded, ground_truth, known)
    assert score.f1 == pytest.approx(2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3))
    assert np.isnan(OcclusionScore().f1)


def test_flow_that_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="not finite at 1 "):
        endpoint_error(row((np.nan, 0), (1, 1)), row((0, 0), (0, 0)))
    with pytest.raises(ValueError, match="shape"):
        endpoint_error(row((0, 0)), row((0, 0), (0, 0)))
    with pytest.raises(ValueError, match="unknown at every pixel"):
        metrics_of((row((0, 0)), row(UNKNOWN)))
