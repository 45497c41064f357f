# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: scripts/setup.sh --training")

from mdflow_ros.model.card import load_card
from mdflow_ros.model.weights import load_weights
from mdflow_training.commands.import_checkpoint import main
from mdflow_training.networks.fastflownet import FastFlowNet


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return FastFlowNet().state_dict()


@pytest.mark.parametrize("wrapping", ["plain", "state_dict", "data_parallel"])
def test_official_and_own_checkpoints_import(tmp_path: Path, state: dict[str, torch.Tensor], wrapping: str) -> None:
    content = {
        "plain": state,
        "state_dict": {"state_dict": state, "cost_volume_normalization": True, "training": {"samples": 5}},
        "data_parallel": {f"module.{name}": value for name, value in state.items()},
    }[wrapping]
    torch.save(content, tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx")]) == 0
    weights, card = load_weights(tmp_path / "net.onnx")
    for name, value in state.items():
        np.testing.assert_array_equal(weights[name], value.numpy())
    assert card.cost_volume_normalization == (wrapping == "state_dict")
    assert card.training == ({"samples": 5} if wrapping == "state_dict" else {})
    assert card.name == "net" and card.parent is not None


def test_options_reach_the_card(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "net.pth")
    (tmp_path / "report.json").write_text('{"sets": {"kitti": {"epe": 1.23456, "ause": 0.2, "fl_all": 9}}}')
    options = ["--cost-volume-normalization", "--preprocessing", "bgr_channel_mean", "--half", "--license", "MIT"]
    options += ["--metrics", str(tmp_path / "report.json")]
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx"), *options]) == 0
    card = load_card(tmp_path / "net.onnx")
    assert (card.cost_volume_normalization, card.preprocessing.value, card.license) == (True, "bgr_channel_mean", "MIT")
    assert card.metrics == {"kitti": {"epe": 1.235, "ause": 0.2}}
    assert (tmp_path / "net.onnx").stat().st_size < 3.5e6


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no checkpoint"),
        (b"rubbish", "cannot read|not a checkpoint"),
        ({"a": torch.zeros(1)}, "104 missing, for example decoder2"),
        ([1, 2], "holds a list"),
    ],
)
def test_bad_checkpoints_are_named_and_write_nothing(
    tmp_path: Path, content: object, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "net.pth"
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    elif content is not None:
        torch.save(content, checkpoint)
    assert main([str(checkpoint), "--out", str(tmp_path / "net.onnx")]) == 1
    error = capsys.readouterr().err
    assert "net.pth" in error
    assert re.search(complaint, error), error
    assert not (tmp_path / "net.onnx").exists()
