# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
from places import ROOT
from textured_pairs import AffinePair

from mdflow_ros.backends.backend import BackendUnavailable
from mdflow_ros.model.card import BUNDLED_MODEL, load_card
from mdflow_ros.model.weights import load_weights
from mdflow_training.adaptation.outcome import split_held_out
from mdflow_training.commands.adapt_from_bag import default_name, main
from mdflow_training.engine.loop import _Loop
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.verdict import Verdict
from mdflow_training.networks.teacher import load_teacher

QUICK = [
    argument
    for setting in (
        "rounds=0",
        "control=false",
        "stage1.optimization.steps=1",
        "stage1.optimization.batch_size=1",
        "frames.held_out_share=0.3",
    )
    for argument in ("--set", setting)
]

NO_CHANGE = Verdict.NO_CHANGE.exit_status
"""Exit status of an adaptation to so few frames, which cannot show a difference."""


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A folder of twelve frames of a texture that moves by 3 px each."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(12):
        _, image = AffinePair((128, 128), (3.0 * number, 0.0)).arrays()
        cv2.imwrite(str(folder / f"{number:04d}.png"), image[..., ::-1])
    return folder


def test_a_recording_becomes_a_deployable_teacher(drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    arguments = [f"images:{drive}", "--out", str(out), "--set", "validation.gate=false", *QUICK]
    assert main(arguments) == NO_CHANGE
    printed = capsys.readouterr().out
    assert str(out / "report.html") in printed and "label-free error" in printed
    adapted, card = load_weights(out / "teacher.onnx")
    assert card.cost_volume_normalization and "drive" in card.training_data
    bundled = load_teacher(BUNDLED_MODEL)
    changes = [float((torch.from_numpy(adapted[name].copy()) - value).abs().max()) for name, value in bundled.items()]
    assert 0 < max(changes) < 1e-3
    assert json.loads((out / "adaptation.json").read_text())["chosen"] == "stage1"
    assert main(arguments) == NO_CHANGE, "a second call finds everything done"
    assert load_card(out / "teacher.onnx").sha256 == card.sha256


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_the_time_of_a_resumed_run_is_that_of_all_its_parts(
    end: type[BaseException], drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "run"
    arguments = [f"images:{drive}", "--out", str(out), *QUICK, "--set", "stage1.optimization.steps=2"]
    arguments += ["--set", "execution.checkpoint_every=1"]

    def end_after_a_step(loop: _Loop, *rest: Any) -> str | None:
        if loop.step == 1:
            raise end
        return train_step(loop, *rest)

    train_step = _Loop._train_step
    with monkeypatch.context() as patch, contextlib.suppress(MemoryError):
        patch.setattr(_Loop, "_train_step", end_after_a_step)
        main(arguments)
    before = json.loads((out / "run_time.json").read_text())["seconds"]
    for _ in range(2):  # to its end, and once more
        main(arguments)
        report = json.loads((out / "report.json").read_text())
        last = report["seconds_of_its_last_part"]
        assert before > 0 < last and report["seconds_of_this_run"] == pytest.approx(before + last, abs=0.2)
        before += last


def test_no_better_teacher_is_no_teacher(drive: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert main([f"images:{drive}", "--out", str(out), "--set", "validation.minimum_gain=0.99", *QUICK]) == NO_CHANGE
    assert json.loads((out / "adaptation.json").read_text())["chosen"] == "initial"
    assert (out / "rejected.onnx").exists() and not (out / "teacher.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such.mcap"], "does not exist"),
        (["images:DRIVE", "--set", "round=1"], "did you mean rounds?"),
        (["images:DRIVE", "--config", "/no/such.yaml"], "cannot read the configuration"),
        (["images:DRIVE", "--model", "/no/such.onnx"], "there is no file /no/such.onnx"),
        (["images:DRIVE", "--set", "student.name=raft_small"], "not raft_small; set stage3.start_from=teacher"),
        (
            ["images:DRIVE", "--set", "student.name=raft_medium", "--set", "stage3.start_from=teacher"],
            "unknown student raft_medium",
        ),
        (["images:DRIVE", "--truth", "/no/such"], "there is no folder /no/such"),
        (["images:DRIVE", "--truth", "DRIVE"], "has no ground truth of any held-out pair"),
        (["images:DRIVE", "--deploy", "--node", "my robot"], "no node can be called 'my robot'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], message: str, drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [argument.replace("DRIVE", str(drive)) for argument in arguments]
    quick = QUICK[2:] if "start_from=teacher" in " ".join(arguments) else QUICK
    assert main([*arguments, "--out", str(tmp_path / "run"), *quick]) == 1
    error = capsys.readouterr().err
    assert "error: " in error and message in error and "Traceback" not in error
    assert not (tmp_path / "run" / "stage1").exists(), "it is said before anything is trained"


def test_without_network_it_says_how_to_bring_the_student_before_anything_is_prepared(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object, **__: object) -> None:
        raise URLError("name resolution failed")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    settings = ("student.name=raft_small", "student.weights=torchvision:C_T_V2", "stage3.start_from=teacher")
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    assert main([f"images:{drive}", "--out", str(tmp_path / "run"), *arguments]) == 1
    error = capsys.readouterr().err
    assert "error: cannot download torchvision:C_T_V2 (no network? <urlopen error name" in error
    assert ".pth elsewhere and set student.weights=FILE" in error and not (tmp_path / "run").exists()


def test_a_report_that_fails_is_made_by_the_next_call(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object) -> None:
        raise BackendUnavailable("install onnxruntime")

    arguments = [f"images:{drive}", "--out", str(tmp_path / "run"), *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr("mdflow_training.adaptation.outcome.compare_models", fail)
        assert main(arguments) == 1
    assert capsys.readouterr().err.endswith("error: install onnxruntime\n")
    assert main(arguments) == NO_CHANGE
    assert (tmp_path / "run" / "report.html").exists()


def test_frames_that_are_too_small_are_refused_before_training(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    small, out = tmp_path / "small", tmp_path / "run"
    small.mkdir()
    for number in range(12):
        _, image = AffinePair((48, 128), (3.0 * number, 0.0)).arrays()
        cv2.imwrite(str(small / f"{number:04d}.png"), image)
    assert main([f"images:{drive}", f"images:{small}", "--out", str(out), *QUICK]) == 1
    error = capsys.readouterr().err
    assert f"recording 2: {small} have 128x48 pixels; the network needs at least 64x64" in error
    assert not (out / "stage1").exists()


def test_a_recording_too_short_for_a_verdict_is_told_before_the_training(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([f"images:{drive}", "--out", str(tmp_path / "run"), *QUICK]) == NO_CHANGE
    printed = capsys.readouterr().out
    assert "warning: the verdict will be 'no change': any other needs 8 held-out pairs to report on, but" in printed
    assert "Record about 64 usable frames" in printed


def test_as_many_frames_as_it_tells_to_record_are_enough(tmp_path: Path):
    numbers = np.stack([np.arange(18), np.arange(18) + 1], axis=1)  # the last 19 of ceil((2 * 8 + 3) / 0.2) frames
    held_out = RecordedPairs(tmp_path, np.arange(19) * 10**8, numbers)
    assert len(split_held_out(held_out)[1]) == 8
    assert len(split_held_out(held_out.select(range(17)))[1]) == 7


def test_a_recording_without_pairs_ends_alike_in_every_process(drive: Path, tmp_path: Path):
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(drive / "0000.png", single)
    script, out = ROOT / "training" / "adapt_from_bag.py", tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    ended = subprocess.run(
        [*command, f"images:{single}", "--out", str(out)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads((out / "report.json").read_text())["verdict"] == "no change"
    assert ended.stdout.count("no change") == 1


def test_a_recording_without_pairs_leaves_the_report_of_another_run(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert main([f"images:{drive}", "--out", str(out), *QUICK]) == NO_CHANGE
    report = (out / "report.json").read_bytes()
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(drive / "0000.png", single)
    assert main([f"images:{single}", "--out", str(out), *QUICK]) == 1
    assert "holds the run of another recording" in capsys.readouterr().err
    assert (out / "report.json").read_bytes() == report


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("robot.mcap", "robot"),
        ("bag:/data/robot_1/#/camera/image_raw", "robot_1"),
        ("video:walk.v2.mp4", "walk"),
        ("bag:drive_*/", "drive__"),
        ("/", "run"),
    ],
)
def test_runs_are_named_by_their_recording(source: str, name: str):
    assert default_name(source) == name
