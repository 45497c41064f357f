# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import json
import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mdflow_training.engine import loop
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.checkpoint import load_state, save_state
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.guards import Guards
from mdflow_training.engine.loop import Outcome, Run, StageResult, learning_rate, run_stage
from mdflow_training.networks.flow_network import FastFlowNetwork
from mdflow_training.settings.adaptation import (
    AdaptationConfig,
    GuardSettings,
    OptimizationSettings,
    load_adaptation_config,
)

PAIRS = [(np.full((128, 128, 3), 40 * i, np.uint8), np.full((128, 128, 3), 40 * i + 9, np.uint8)) for i in range(3)]


class Scripted:
    """An objective with one parameter; the test chooses its losses, visible shares and interruptions."""

    def __init__(self, loss: Callable[[int], float], visible: float = 1.0, interrupt_at: int | None = None) -> None:
        self.loss, self.visible, self.interrupt_at = loss, visible, interrupt_at
        self.calls: list[int] = []
        self.observed = 0

    def __call__(self, network: nn.Module, batch: Batch, progress: float) -> Outcome:
        step = batch.positions[0]
        if step == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls.append(step)
        parameter = next(network.parameters())
        loss = parameter.mean() - parameter.mean().detach() + self.loss(step)
        picture = np.zeros((8, 8, 3), np.uint8)
        return Outcome(loss, {"visible": torch.tensor(self.visible)}, lambda: picture)

    def observe(self, metrics: dict[str, float], progress: float) -> None:
        self.observed += 1

    def state_dict(self) -> dict[str, Any]:
        return {"observed": self.observed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.observed = state["observed"]


def rising(step: int) -> float:
    return 1 + step / 8


def a_run(folder: Path, *changes: str) -> Run:
    config = load_adaptation_config(
        None, ["guards.window=3", "execution.checkpoint_every=4", "execution.log_every=2", *changes]
    )
    return Run(config, folder, ProcessContext(0, 1, torch.device("cpu")), PAIRS, (128, 128))


def a_network() -> FastFlowNetwork:
    torch.manual_seed(0)
    return FastFlowNetwork()


SETTINGS = OptimizationSettings(steps=10, batch_size=1, learning_rate=1e-3)


def test_a_stage_runs_all_its_steps_once_and_remembers(tmp_path: Path):
    objective = Scripted(lambda step: 1.0)
    result = run_stage("a/stage", a_network(), objective, SETTINGS, 0, a_run(tmp_path))
    assert objective.calls == list(range(10)) and objective.observed == 10
    assert (result.stopped, result.steps) == (None, 10)
    assert not torch.equal(result.state["pconv1_1.0.weight"], a_network().core.state_dict()["pconv1_1.0.weight"])
    again, network = Scripted(lambda step: 1.0), a_network()
    stored = run_stage("a/stage", network, again, SETTINGS, 0, a_run(tmp_path))
    assert again.calls == []
    for name, value in result.state.items():
        assert torch.equal(stored.state[name], value) and torch.equal(network.core.state_dict()[name], value)
    assert not (tmp_path / "a/stage/checkpoint.pt").exists()


def test_a_state_that_does_not_fit_on_the_disk_names_its_file_and_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "result.pt"
    save_state(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write; the disk may be full: '.*/result\.pt'$"):
            save_state(path, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_state(path) == {"step": 1} and list(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_finite_never_leave_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = a_network().core.state_dict()
    monkeypatch.setattr(loop, "learning_rate", lambda _, step: math.inf if step == 9 else 1e-3)
    result = run_stage("a/stage", a_network(), Scripted(lambda step: 1.0), SETTINGS, 0, a_run(tmp_path))
    assert result.stopped == "a/stage stopped at step 10: the weights are not finite; lower the learning rate"
    assert result.steps == 0 and all(torch.equal(value, first[name]) for name, value in result.state.items())


def test_an_interrupted_stage_ends_like_an_uninterrupted_one(tmp_path: Path):
    whole = run_stage("stage", a_network(), Scripted(rising), SETTINGS, 0, a_run(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        run_stage("stage", a_network(), Scripted(rising, interrupt_at=7), SETTINGS, 0, a_run(tmp_path / "cut"))
    objective = Scripted(rising)
    resumed = run_stage("stage", a_network(), objective, SETTINGS, 0, a_run(tmp_path / "cut"))
    assert objective.calls == [4, 5, 6, 7, 8, 9] and objective.observed == 10
    assert all(torch.equal(resumed.state[name], value) for name, value in whole.state.items())
    logs = [(tmp_path / kind / "stage/metrics.jsonl").read_text() for kind in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [2, 4, 6, 8, 10]
    assert [json.loads(line)["loss"] for line in logs[0].splitlines()] == [rising(s) + 1 / 16 for s in (0, 2, 4, 6, 8)]


@pytest.mark.parametrize(
    ("loss", "visible", "reason"),
    [
        (lambda step: math.nan if step == 6 else 1.0, 1.0, "the loss became nan"),
        (lambda step: 1.0 if step < 6 else 40.0, 1.0, "the loss rose from 1 to"),
        (lambda step: 1.0, 0.2, "only 20% of the pixels pass as visible"),
    ],
)
def test_a_guard_stops_with_a_reason_and_the_last_good_state(
    tmp_path: Path, loss: Callable[[int], float], visible: float, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "GOOD_STATE_INTERVAL", 4)
    objective = Scripted(loss, visible)
    result = run_stage("stage", a_network(), objective, SETTINGS, 0, a_run(tmp_path))
    assert result.stopped is not None and reason in result.stopped and "stage stopped at step" in result.stopped
    good = 4 if len(objective.calls) > 4 else 0
    assert result.steps == good
    reference = a_network().core.state_dict()
    if good:
        with pytest.raises(KeyboardInterrupt):
            run_stage("cut", a_network(), Scripted(loss, interrupt_at=good), SETTINGS, 0, a_run(tmp_path))
        reference = load_state(tmp_path / "cut/checkpoint.pt")["network"]
    assert all(torch.equal(result.state[name], value) for name, value in reference.items())
    stored = run_stage("stage", a_network(), Scripted(rising, interrupt_at=0), SETTINGS, 0, a_run(tmp_path))
    assert stored.stopped == result.stopped, "a resumed run does not go round the guard"


@pytest.mark.parametrize("interrupt_at", [None, 4, 8])
@pytest.mark.parametrize("every", [1, 3, 100])
def test_the_state_that_a_guard_goes_back_to_does_not_depend_on_checkpoints(
    tmp_path: Path, every: int, interrupt_at: int | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "GOOD_STATE_INTERVAL", 3)

    def stage(folder: str, every: int, interrupt_at: int | None = None) -> StageResult:
        objective = Scripted(lambda step: math.nan if step == 8 else 1.0, interrupt_at=interrupt_at)
        run = a_run(tmp_path / folder, f"execution.checkpoint_every={every}")
        return run_stage("stage", a_network(), objective, SETTINGS, 0, run)

    usual = stage("usual", 4)
    if interrupt_at is not None:
        with pytest.raises(KeyboardInterrupt):
            stage("other", every, interrupt_at)
    other = stage("other", every)
    assert usual.steps == other.steps == 6 and usual.stopped == other.stopped
    assert all(torch.equal(other.state[name], value) for name, value in usual.state.items())


def test_a_resumed_stage_meets_the_same_guard(tmp_path: Path):
    def jump(step: int) -> float:
        return 1.0 if step < 4 else 4.0

    def stage(folder: str, interrupt_at: int | None = None) -> str | None:
        run = a_run(tmp_path / folder, "guards.explosion=3.7", "guards.window=2")
        return run_stage("stage", a_network(), Scripted(jump, interrupt_at=interrupt_at), SETTINGS, 0, run).stopped

    with pytest.raises(KeyboardInterrupt):
        stage("cut", interrupt_at=6)
    assert stage("cut") == stage("whole")
    assert "stage stopped at step 7: the loss rose from 1 to" in str(stage("whole"))


def test_guards_let_healthy_training_pass_and_resume_exactly():
    random = np.random.default_rng(0)
    guards, settings = Guards(GuardSettings()), GuardSettings()
    for step in range(400):
        loss = (1 + 30 * math.exp(-step / 50)) * random.uniform(0.4, 1.8)
        assert guards.check(loss, random.uniform(0.3, 1.0)) is None
    resumed = Guards(settings)
    resumed.load_state_dict(guards.state_dict())
    assert [resumed.check(9.0, 1.0) for _ in range(20)] == [guards.check(9.0, 1.0) for _ in range(20)]
    assert "norm became inf" in str(Guards(settings).check_gradient(math.inf))


def test_overflows_of_half_precision_pass_until_they_do_not_end():
    guards = Guards(GuardSettings())
    for norm in [math.inf] * 20 + [1.0] + [math.nan] * 20:
        assert guards.check_gradient(norm, float16=True) is None
    assert "norm became nan" in str(guards.check_gradient(math.nan, float16=True))


def test_learning_rate_warms_up_and_decays():
    settings = OptimizationSettings(steps=100, learning_rate=1.0, warm_up=0.1, final_learning_rate=0.2)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.2, abs=0.01)
    assert AdaptationConfig().stage1.optimization.steps > 0


def test_float16_training_scales_the_loss(tmp_path: Path):
    """Gradients this small vanish in half precision unless the loss is scaled."""
    network = FastFlowNetwork(torch.float16)
    before = network.core.state_dict()["pconv1_1.0.weight"].clone()
    settings = SETTINGS.model_copy(update={"steps": 2})
    result = run_stage("stage", network, Scripted(lambda step: 1.0), settings, 0, a_run(tmp_path, "precision=float16"))
    assert result.stopped is None and not torch.equal(before, result.state["pconv1_1.0.weight"])


def test_a_run_trains_in_the_precision_of_its_settings(tmp_path: Path):
    assert a_run(tmp_path, "precision=float32").autocast is None
    assert a_run(tmp_path, "precision=bfloat16").autocast is torch.bfloat16


@pytest.mark.parametrize("weights", [[1.0], [0.1 * step for step in range(1, 11)]])
def test_a_term_that_is_switched_on_is_no_explosion_but_one_after_it_is(weights: list[float]):
    guards = Guards(GuardSettings())
    for _ in range(30):
        assert guards.check(1.6, 1.0) is None
    for weight in weights:
        assert guards.check(1.6 + 10 * weight, 1.0, weight) is None
    for _ in range(60):
        assert guards.check(11.6, 1.0, weights[-1]) is None
    assert any(guards.check(90.0, 1.0, weights[-1]) for _ in range(40))


def test_a_loss_after_steps_with_empty_masks_is_no_explosion_but_a_larger_one_after_it_is():
    guards = Guards(GuardSettings())
    for _ in range(30):
        assert guards.check(0.0, 1.0) is None
    for step in range(60):
        assert guards.check(2.0 * (step % 3 > 0), 1.0) is None
    assert any("the loss rose from 2 to" in str(guards.check(30.0, 1.0)) for _ in range(40))


def test_the_visible_share_is_watched_while_a_term_is_switched_on():
    guards = Guards(GuardSettings())
    assert any(guards.check(1.0, 0.1, 0.01 * step) for step in range(25))
