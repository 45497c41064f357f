# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mdflow_training.evaluation.confidence_metrics import (
    ConfidenceMetrics,
    most_confident_epe,
    rank_correlation,
    sparsification_curve,
    sparsification_error,
)

HUNDRED = np.arange(1, 101, dtype=np.float32)


def literal_sparsification_error(uncertainty, error):
    """The specification's words, one after the other."""

    def curve(key):
        thresholds = [np.percentile(-key, q) for q in range(0, 100, 2)]
        return np.array([error[-key >= threshold].mean() for threshold in thresholds] + [0])

    model, oracle = curve(uncertainty), curve(error)
    scale = oracle.max() + 1e-6
    x = np.linspace(0, 1, 51)
    areas = [np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) for y in (model / scale, oracle / scale)]
    return abs(areas[0] - areas[1])


def test_sparsification_removes_the_most_uncertain_first():
    curve = sparsification_curve(HUNDRED, HUNDRED)
    assert curve.shape == (51,)
    assert curve[0] == pytest.approx(50.5)
    # The 2nd percentile of -100 .. -1 is -98.02, so 100 and 99 go.
    assert curve[1] == pytest.approx(np.arange(1, 99).mean())
    assert curve[49] == pytest.approx(np.mean([1, 2]))
    assert curve[50] == 0


def test_ause_of_a_perfect_ranking_is_zero_and_of_its_reverse_is_large():
    assert sparsification_error(1 - HUNDRED / 100, HUNDRED) == pytest.approx(0, abs=1e-6)
    # Reversed, 100-k errors from k+1 to 100 are left: their mean is 50.5 + k/2; perfect, it is 50.5 - k/2.
    removed = np.arange(0, 100, 2)
    best, worst = np.append(50.5 - removed / 2, 0), np.append(50.5 + removed / 2, 0)
    area = ((worst - best)[1:] + (worst - best)[:-1]).sum() / 2 / 50 / (50.5 + 1e-6)
    assert sparsification_error(HUNDRED / 100, HUNDRED) == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("levels", [3, 1000])
def test_ause_follows_the_specification_with_and_without_ties(levels):
    random = np.random.default_rng(levels)
    error = random.exponential(2, 700).astype(np.float32)
    confidence = (np.round(random.uniform(0, 1, 700) * levels) / levels).astype(np.float32)
    assert sparsification_error(confidence, error) == pytest.approx(
        literal_sparsification_error(-confidence, error), rel=1e-5
    )


def test_a_constant_confidence_removes_nothing():
    curve = sparsification_curve(np.full(100, 0.5, np.float32), HUNDRED)
    assert (curve[:-1] == 50.5).all()


def test_rank_correlation():
    assert rank_correlation(-HUNDRED, HUNDRED**2) == pytest.approx(1)
    assert rank_correlation(HUNDRED, HUNDRED) == pytest.approx(-1)
    # Ranks of the uncertainty 1, 2.5, 2.5, 4 against 1, 3, 2, 4.
    uncertainty = np.array([0.1, 0.5, 0.5, 0.9], np.float32)
    expected = np.corrcoef([1, 2.5, 2.5, 4], [1, 3, 2, 4])[0, 1]
    assert rank_correlation(1 - uncertainty, np.array([1, 7, 5, 9], np.float32)) == pytest.approx(expected)
    assert np.isnan(rank_correlation(np.ones(4, np.float32), np.arange(4, dtype=np.float32)))


def test_epe_of_the_most_confident():
    epe = most_confident_epe(1 - HUNDRED / 100, HUNDRED)
    assert epe == {50: pytest.approx(25.5), 70: pytest.approx(35.5), 90: pytest.approx(45.5)}


def test_equally_confident_pixels_count_as_their_mean():
    epe = most_confident_epe(np.array([1, 0, 0, 0], np.float32), np.array([2, 3, 6, 9], np.float32))
    assert epe[50] == pytest.approx((2 + 6) / 2)
    assert epe[70] == pytest.approx((2 + 1.8 * 6) / 2.8)


def test_confidence_metrics_are_means_of_images():
    metrics = ConfidenceMetrics()
    metrics.add(1 - HUNDRED / 100, HUNDRED, HUNDRED <= 1)
    metrics.add(1 - HUNDRED / 100, 3 * HUNDRED, HUNDRED <= 1)
    assert metrics.summary()["epe_top_50"] == pytest.approx(2 * 25.5)
    assert metrics.summary()["spearman"] == pytest.approx(1)
    assert metrics.summary()["ause"] == pytest.approx(0, abs=1e-6)


def test_the_calibration_curve_pools_pixels_by_tenths_of_confidence():
    metrics = ConfidenceMetrics()
    metrics.add(
        np.array([0.0, 0.05, 1.0], np.float32), np.array([4, 2, 0.5], np.float32), np.array([False, False, True])
    )
    metrics.add(np.array([0.95], np.float32), np.array([2.5], np.float32), np.array([True]))
    low, high = metrics.summary()["calibration"]
    assert low == {
        "confidence": pytest.approx(0.025),
        "pixels_percent": 50,
        "epe": 3,
        "right_percent": 0,
        "accuracy_1px": 0,
        "accuracy_3px": 50,
    }
    assert high["confidence"] == pytest.approx(0.975)
    assert (high["epe"], high["accuracy_1px"], high["accuracy_3px"]) == (1.5, 50, 100)


def test_the_expected_calibration_error_weighs_the_tenths_by_their_pixels():
    metrics = ConfidenceMetrics()
    # 6 pixels of confidence 0.95, 3 of them right: off by 0.45. 4 pixels of 0.25, 1 right: off by 0.
    confidence = np.array([0.95] * 6 + [0.25] * 4, np.float32)
    metrics.add(confidence, np.ones(10, np.float32), np.array([1, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool))
    assert metrics.summary()["ece"] == pytest.approx(0.6 * 0.45)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_confidence_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ConfidenceMetrics().add(np.array([0.5, value], np.float32), np.ones(2, np.float32), np.ones(2, bool))


def test_an_image_without_a_correlation_leaves_those_of_the_others():
    metrics = ConfidenceMetrics()
    metrics.add(np.array([0.9], np.float32), np.array([0.1], np.float32), np.array([True]))
    assert np.isnan(metrics.summary()["spearman"])
    metrics.add(HUNDRED / 100, 100 - HUNDRED, HUNDRED > 50)
    assert metrics.summary()["spearman"] == pytest.approx(1)
