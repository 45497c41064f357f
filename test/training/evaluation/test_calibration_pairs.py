# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_training.commands import calibrate_confidence
from mdflow_training.commands.calibrate_confidence import main
from mdflow_training.evaluation.calibration import BLANK_EVERY, blank_pair, calibration_pairs, fit_calibration
from mdflow_training.synthetic.textures import procedural_library


def test_a_blank_surface_moves_as_its_flow_says() -> None:
    for seed in range(6):
        first, second, flow = blank_pair(np.random.default_rng(seed), (192, 256))
        right, down = flow[0, 0]
        smooth = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 6) for image in (first, second)]
        moved = cv2.warpAffine(smooth[0], np.array([[1, 0, right], [0, 1, down]]), (256, 192))
        inside = (slice(40, -40), slice(40, -40))
        assert np.abs(moved - smooth[1])[inside].mean() < 0.6


def test_some_calibration_pairs_are_blank() -> None:
    pairs = list(calibration_pairs(procedural_library(0, 4, 64), seed=0, count=BLANK_EVERY))
    uniform = [float(np.ptp(flow.reshape(-1, 2), axis=0).max()) == 0 for _, _, flow in pairs]
    assert uniform[-1] and not any(uniform[:-1:2])


class KnownEstimator:
    """An estimator whose flow is right with a probability that is a known function of the cues."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def chance(self, cues: list[np.ndarray]) -> np.ndarray:
        a, b, c, d, _ = np.clip(cues, -2.5, 2.5)
        return 1 / (1 + np.exp(-(0.5 + a - 0.8 * b * c + 0.4 * d**2 - 0.3 * a * d)))

    def cues(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        cues = list(self.random.normal(0, 1, (5, 48, 64)).astype(np.float32))
        right = self.random.random((48, 64)) < self.chance(cues)
        flow = np.zeros((48, 64, 2), np.float32)
        flow[..., 0] = np.where(right, 0.9, 1.1)  # a flow is right within 1 pixel
        flow[:24] += 5
        return flow, cues


def test_the_fit_finds_a_known_probability() -> None:
    estimator, image = KnownEstimator(), np.zeros((48, 64, 3), np.uint8)
    truth = np.zeros((48, 64, 2), np.float32)
    truth[:24] = np.nan  # there the flow is wrong, which must not count
    fitted = fit_calibration(estimator, [(image, image, truth)] * 60)  # type: ignore[arg-type]
    _, cues = estimator.cues(image, image)
    assert np.abs(fitted.probability(cues) - estimator.chance(cues)).mean() < 0.015


def test_too_few_pairs_for_a_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.onnx"), "--procedural", "--pairs", "1"])
    assert "argument --pairs: 1 is less than 24" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_the_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    monkeypatch.setattr(calibrate_confidence, "fit_calibration", lambda *_: pytest.fail("fitted in vain"))
    monkeypatch.setattr(calibrate_confidence, "procedural_library", lambda _: None)
    assert main([str(BUNDLED_MODEL), "--procedural"]) == 1
    assert "Read-only file system" in capsys.readouterr().err
