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


@pytest.mark.parametrize("key", ["", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod.", "model."])
def test_checkpoints_of_usual_trainers_import(
    tmp_path: Path, state: dict[str, torch.Tensor], key: str, prefix: str
) -> None:
    parameters = {prefix + name: torch.nn.Parameter(value) for name, value in state.items()}
    torch.save({key: parameters, "training": [1, 2], "epoch": 7} if key else parameters, tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx")]) == 0
    assert load_card(tmp_path / "net.onnx").training == {}


def test_a_checkpoint_that_is_not_finite_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    state["pconv1_1.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx")]) == 1
    assert "pconv1_1.0.weight is not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--out", "model.json"], "must end in .onnx"),
        (["--out", "v1.2"], "must end in .onnx"),
        (["--out", "net.onnx", "--name", "x" * 300], "name must have 1 to 200 characters"),
        (["--out", "net.onnx", "--license", "a\x07b"], "license holds unprintable characters"),
    ],
)
def test_a_model_that_could_not_be_read_again_is_not_written(
    tmp_path: Path,
    state: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "net.pth")
    assert main(["net.pth", *options]) == 1
    assert reason in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_options_reach_the_card(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "net.pth")
    (tmp_path / "report.json").write_text('{"sets": {"kitti": {"epe": 1.23456, "ause": 0.2, "ece": 0.0456, "fl": 9}}}')
    options = ["--cost-volume-normalization", "--preprocessing", "bgr_channel_mean", "--half", "--license", "MIT"]
    options += ["--metrics", str(tmp_path / "report.json")]
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx"), *options]) == 0
    card = load_card(tmp_path / "net.onnx")
    assert (card.cost_volume_normalization, card.preprocessing.value, card.license) == (True, "bgr_channel_mean", "MIT")
    assert card.metrics == {"kitti": {"epe": 1.235, "ause": 0.2, "ece": 0.046}}
    assert (tmp_path / "net.onnx").stat().st_size < 3.5e6


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no checkpoint"),
        (b"rubbish", "cannot read|not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ({"state_dict": None}, "It holds 1 entries: state_dict"),
        ({1: torch.zeros(1)}, "104 missing"),
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


def test_what_does_not_fit_half_precision_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**state, "pconv1_1.0.bias": torch.full((16,), 1e5)}, tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.onnx"), "--half"]) == 1
    assert "pconv1_1.0.bias has values up to 1e+05, too large for fp16" in capsys.readouterr().err
    assert not (tmp_path / "net.onnx").exists()


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, state: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state, tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "net.pth" / "net.onnx")]) == 1
    assert "error: " in capsys.readouterr().err


def test_the_help_names_no_default_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "None" not in capsys.readouterr().out
