# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining lowers the error, and a killed run that is resumed gives the same result as an uninterrupted run."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")

import torch
from places import ROOT

from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.model.card import BUNDLED_MODEL, Preprocessing, save_model
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights
from mdflow_training.commands.pretrain import main
from mdflow_training.engine import distributed
from mdflow_training.engine.checkpoint import load_state
from mdflow_training.losses.supervised import multi_scale_loss
from mdflow_training.networks.checkpoints import load_checkpoint
from mdflow_training.networks.fastflownet import FastFlowNet
from mdflow_training.pretraining.log import PretrainingLog
from mdflow_training.pretraining.run import keep_config
from mdflow_training.pretraining.schedule import schedule
from mdflow_training.pretraining.training import Training, load_initial_weights
from mdflow_training.settings.pretraining import Phase, PretrainConfig, load_pretrain_config
from mdflow_training.synthetic import batches
from mdflow_training.synthetic.batches import BatchPlan, BatchRequests, Request, SyntheticPairs, load_batches
from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.pairs import SCENE_CLASSES, render_pair
from mdflow_training.synthetic.textures import procedural_library

POOL = 16
TOOL = ROOT / "training" / "pretrain.py"
PHASES = [
    {"samples": 16, "size": [64, 64], "batch": 2, "learning_rate": 1e-3, "final_share": 0.5},
    {"samples": 16, "size": [64, 128], "batch": 2, "learning_rate": 5e-4},
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with eight tiny steps."""
    path = tmp_path / "pretrain.yaml"
    settings = {
        "textures": "procedural",
        "phases": PHASES,
        "validation_pairs": 1,
        "validation_size": [64, 64],
        "save_every": 2,
        "workers": 0,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_equal(mine, theirs)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_learning_one_batch_by_heart_lowers_its_error() -> None:
    phase = Phase(samples=1, size=(64, 64), batch=2, learning_rate=1e-3, final_share=1)
    training = Training(PretrainConfig(phases=(phase,), precision="float32"), distributed.setup())
    plan = BatchPlan(0, 2, (64, 64), "flat")
    pairs = SyntheticPairs(procedural_library(1, 3, 256), 3)
    batch = next(iter(load_batches(pairs, BatchRequests([plan]), 0)))
    step = schedule(training.config, 1)[0]
    errors = [training.step(step, batch)[1].item() for _ in range(60)]
    assert min(errors[-5:]) < 0.6 * errors[0]


def test_the_log_has_the_means_of_twenty_steps(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(load_pretrain_config(config), distributed.setup())
    step = schedule(training.config, 1)[0]
    log = PretrainingLog(tmp_path, training, 40)
    logged: list[tuple[str, float]] = []
    monkeypatch.setattr(log.writer, "add_scalar", lambda name, value, samples: logged.append((name, value)))
    for number in range(40):
        log.step(step, torch.tensor(float(number)), torch.tensor(2.0 * number))
    log.close()
    assert [value for name, value in logged if name == "train/loss"] == [9.5, 29.5]
    assert [value for name, value in logged if name == "train/epe"] == [19.0, 59.0]


def test_a_run_killed_with_signal_9_resumes_to_the_same_end(config: Path, tmp_path: Path) -> None:
    assert main(["--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    killed = tmp_path / "killed"
    command = [sys.executable, str(TOOL), "--config", str(config), "--out", str(killed)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        while not (killed / "last.pt").exists() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert 2 <= load_state(killed / "last.pt")["steps"] < 8
    assert main(["--config", str(config), "--out", str(killed)]) == 0
    assert_equal(load_state(tmp_path / "whole" / "last.pt"), load_state(killed / "last.pt"))


def test_a_state_of_an_earlier_version_with_random_generators_resumes(config: Path) -> None:
    training = Training(load_pretrain_config(config), distributed.setup())
    training.restore({**training.state(), "steps": 3, "samples": 12, "random": {"torch": torch.get_rng_state()}})
    assert (training.steps, training.samples) == (3, 12)


def test_the_run_folder_holds_deployable_weights_and_the_settings(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["--config", str(config), "--out", str(out)]) == 0
    for name, samples in (("best.pth", {16, 32}), ("last.pth", {32}), ("phase1.pth", {16}), ("phase2.pth", {32})):
        checkpoint = load_checkpoint(out / name)
        assert checkpoint.cost_volume_normalization is True
        assert checkpoint.training["samples"] in samples
    assert load_pretrain_config(out / "config.yaml") == load_pretrain_config(config)
    header, first, *_ = (out / "curve.csv").read_text().splitlines()
    assert header == ",".join(["samples", *(f"{name}_epe" for name in (*SCENE_CLASSES, "mean", "mean_level2"))])
    assert first.startswith("16,")
    assert list((out / "tensorboard").iterdir())


@pytest.mark.parametrize("path", sorted((TOOL.parent / "configs").glob("pretrain*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_sound(path: Path) -> None:
    shipped = load_pretrain_config(path)
    assert sum(phase.samples for phase in shipped.phases) >= 40_000
    assert shipped.initial_weights is None or (TOOL.parents[1] / shipped.initial_weights).exists()


def test_a_cycle_with_another_seed_meets_other_pairs(config: Path, tmp_path: Path) -> None:
    assert main(["--config", str(config), "--seed", "7", "--out", str(tmp_path / "run")]) == 0
    assert load_pretrain_config(tmp_path / "run" / "config.yaml").seed == 7


def test_a_deployable_model_has_every_weight() -> None:
    weights = load_initial_weights(BUNDLED_MODEL)
    FastFlowNet(cost_volume_normalization=True).load_state_dict(weights)


def test_a_reader_of_the_settings_never_sees_half_of_them(config: Path, tmp_path: Path) -> None:
    keep_config(load_pretrain_config(config), tmp_path, changed=False)
    before = (tmp_path / "config.yaml").read_text()
    (tmp_path / "reader").hardlink_to(tmp_path / "config.yaml")
    keep_config(load_pretrain_config(config).model_copy(update={"seed": 5}), tmp_path, changed=True)
    assert (tmp_path / "reader").read_text() == before
    assert load_pretrain_config(tmp_path / "config.yaml").seed == 5


def test_other_settings_do_not_slip_into_a_run(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "run"
    assert main(["--config", str(config), "--out", str(out)]) == 0
    config.write_text(config.read_text() + "seed: 5\n")
    assert main(["--config", str(config), "--out", str(out)]) == 1
    assert "--changed-config" in caplog.text


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("sead: 1", "sead: unknown setting; did you mean seed?"),
        ("phases: [{samples: 8, size: [64, 64], batch: 1, rate: 1}]", r"phases\.0\.rate: unknown setting; there are"),
        ("phases: [{samples: 8, size: [64, 64], batch: 1}]", r"phases\.0\.learning_rate: it must be set"),
        ("seed: one", r"seed: Input should be a valid integer.*found 'one'"),
        ("validation_size: [60, 64]", "multiple of 64"),
        ("phases: []", "phases"),
        ("{", "cannot read the configuration"),
        ("mixture: {flst: 1}", "unknown scene class 'flst'; choose"),
        ("mixture: {flat: 0}", "mixture: .*one must be above 0"),
        ("mixture: {flat: .inf}", r"mixture\.flat: .*finite"),
        ("scale_weights: [.nan, 1, 1, 1, 1]", r"scale_weights\.0: .*(finite|greater)"),
        ("mixture: {}", "mixture: .*one must be above 0"),
        ("scale_weights: [-1, 0, 0, 0, 1]", r"scale_weights\.0: .*greater than or equal to 0"),
        ("scale_weights: [0, 0, 0, 0, 0]", "scale_weights: .*one must be above 0"),
    ],
)
def test_a_wrong_setting_is_named(config: Path, tmp_path: Path, line: str, named: str) -> None:
    key = line.partition(":")[0]
    others = {name: value for name, value in yaml.safe_load(config.read_text()).items() if name != key}
    config.write_text(yaml.safe_dump(others) + line)
    with pytest.raises(ValueError, match=named):
        load_pretrain_config(config)
    assert main(["--config", str(config), "--out", str(tmp_path / "run")]) == 1


@pytest.mark.parametrize(
    ("normalization", "preprocessing"), [(False, Preprocessing.RGB_SCALAR_MEAN), (True, Preprocessing.BGR_CHANNEL_MEAN)]
)
def test_weights_of_another_kind_do_not_slip_into_a_run(
    normalization: bool, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    weights, card = load_weights(BUNDLED_MODEL)
    graph = build_graph(weights, preprocessing, normalization).SerializeToString(deterministic=True)
    card = replace(card, cost_volume_normalization=normalization, preprocessing=preprocessing)
    save_model(graph, card, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx was trained without cost-volume normalization or for other"):
        load_initial_weights(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state": {}, "stopped": None, "steps": 3}, "weights .*initial.pt do not fit FastFlowNet"),
        ({"state_dict": 3}, "weights .*initial.pt do not fit FastFlowNet"),
        ({"cost_volume_normalization": False}, "initial.pt was trained without cost-volume normalization"),
    ],
)
def test_files_that_are_no_initial_weights_are_named(
    content: dict[str, object], said: str, config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(content, tmp_path / "initial.pt")
    config.write_text(f"{config.read_text()}\ninitial_weights: {tmp_path / 'initial.pt'}\n")
    assert main(["--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert re.search(f"error: .*{said}", caplog.text)


def test_a_seed_out_of_range_is_named(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["--config", str(config), "--out", str(tmp_path / "run"), "--seed", "-5"]) == 1
    assert "error: seed: Input should be greater than or equal to 0 (found -5)" in caplog.text


def test_two_runs_do_not_share_a_folder(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with folder_lock(tmp_path / "run"):
        assert main(["--config", str(config), "--out", str(tmp_path / "run")]) == 1
    assert f"error: another process, {os.getpid()}, writes into {tmp_path / 'run'}" in caplog.text


def test_two_processes_train_together(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*runner, str(TOOL), "--config", str(config), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    state = load_state(out / "last.pt")
    assert (state["steps"], state["samples"]) == (4, 32)


def test_processes_never_share_a_pair() -> None:
    phase = Phase(samples=24, size=(64, 64), batch=2, learning_rate=1e-3)
    plans = [step.plan for step in schedule(PretrainConfig(phases=(phase,)), world_size=2)]
    numbers = [request.number for rank in range(2) for batch in BatchRequests(plans, rank) for request in batch]
    assert sorted(numbers) == list(range(12))


def test_each_use_of_a_scene_looks_different_and_needs_no_second_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def render(library: object, seed: int, number: int, *rest: object) -> FlowPair:
        rendered.append(number)
        return render_pair(library, seed, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "render_pair", render)
    pairs = SyntheticPairs(procedural_library(1, 3, 256), 3, {"flat": 1}, uses=2, pool=POOL)
    first, _, forward, _ = pairs[Request(5, (64, 64))]
    again, _, mirrored, _ = pairs[Request(5 + POOL, (64, 64))]
    assert rendered == [5]
    torch.testing.assert_close(mirrored, forward.flip(2) * torch.tensor([-1.0, 1.0])[:, None, None])
    assert not torch.equal(again, first)
    assert not torch.equal(again, first.flip(2))
    pairs[Request(2 * POOL + 5, (64, 64))]
    assert rendered == [5, POOL + 5]


def test_which_process_makes_a_pair_does_not_change_it() -> None:
    library = procedural_library(1, 3, 256)
    one, other = (SyntheticPairs(library, 3, {"flat": 1, "fast": 1}, uses=3, pool=POOL) for _ in range(2))
    one[Request(7, (64, 64))]
    for mine, theirs in zip(one[Request(7 + 2 * POOL, (64, 64))], other[Request(7 + 2 * POOL, (64, 64))], strict=True):
        assert torch.equal(mine, theirs)


def test_a_second_size_takes_every_second_step() -> None:
    phase = Phase(samples=40, size=(64, 64), second_size=(64, 128), batch=2, learning_rate=1e-3)
    sizes = [step.plan.size for step in schedule(PretrainConfig(phases=(phase,)), 2)]
    assert sizes == [(64, 64), (64, 128), (64, 64), (64, 128), (64, 64)]


def test_the_learning_rate_rises_and_falls_once_a_phase() -> None:
    phase = Phase(samples=800, size=(64, 64), batch=2, learning_rate=1e-3, final_share=0.1)
    rates = [step.learning_rate for step in schedule(PretrainConfig(phases=(phase,), warm_up=0.1), 1)]
    highest = rates.index(max(rates))
    assert len(rates) == 200
    assert highest == 19
    assert max(rates) == pytest.approx(1e-3)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def test_validation_textures_are_held_out() -> None:
    library = procedural_library(0, 20, 128)
    train, held_out = library.split()
    assert (len(train.photographs), len(held_out.photographs)) == (18, 2)
    assert not any(one is other for one in train.photographs for other in held_out.photographs)


def test_the_loss_of_exact_flow_is_nearly_zero_and_errors_weigh_by_scale() -> None:
    ground_truth = torch.full((1, 2, 8, 8), 3.0)
    flows = [torch.full((1, 2, 4, 4), 3.0), torch.full((1, 2, 8, 8), 3.0)]
    assert multi_scale_loss(flows, ground_truth, [0.5, 1.0], 1.0) < 0.02
    wrong = [flows[0] + torch.tensor([3.0, 4.0])[:, None, None], flows[1]]
    assert multi_scale_loss(wrong, ground_truth, [0.5, 1.0], 1.0).item() == pytest.approx(0.5 * 5, abs=0.02)
