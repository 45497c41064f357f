# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_adaptation
import torch
from process_helpers import kill_once_there
from textured_pairs import AffinePair, pairs

from mdflow_ros.core.resizing import Size
from mdflow_training.adaptation.mutual_distillation import AdaptationResult, adapt
from mdflow_training.adaptation.run_folder import claim_folder
from mdflow_training.adaptation.run_time import RunTime
from mdflow_training.adaptation.score_book import ScoreBook
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run
from mdflow_training.judging.label_free_score import RANDOM_MATCH, LabelFreeScore, validate
from mdflow_training.losses.census import Census
from mdflow_training.networks.flow_network import FastFlowNetwork, FlowNetwork, upsample_flow
from mdflow_training.settings.adaptation import ValidationSettings, load_adaptation_config
from mdflow_training.settings.reading import ConfigError

SCRIPT = Path(tiny_adaptation.__file__)
ALONE = ProcessContext(0, 1, torch.device("cpu"))


def endpoint_error(state: dict[str, torch.Tensor], data: list[AffinePair]) -> float:
    network = FastFlowNetwork().eval()
    network.core.load_state_dict(state)
    errors = []
    with torch.no_grad():
        for pair in data:
            flow = upsample_flow(network(pair.first, pair.second)[-1], pair.first.shape[-2:])
            errors.append(float((flow[:1] - pair.forward).norm(dim=1).mean()))
    return float(np.mean(errors))


def test_a_teacher_from_scratch_learns_to_see_motion(tmp_path: Path):
    torch.set_num_threads(1)
    data = pairs(2, (128, 128), largest=4)
    frames = [pair.arrays() for pair in data]
    config = load_adaptation_config(
        None,
        [
            "initial_teacher=scratch",
            "quality=best",
            "image_size=[128, 128]",
            "rounds=0",
            "stage1.optimization.steps=40",
            "stage1.optimization.batch_size=2",
            "stage1.optimization.learning_rate=6e-4",
            "stage1.optimization.final_learning_rate=0.5",
            "stage1.unsupervised.level_weights=[1, 0.5, 0.25, 0.12]",
            "stage1.occlusion.start=0.6",
            "stage1.distillation.start=0.9",
        ],
    )
    result = adapt({}, frames, frames, config, tmp_path, ALONE)
    zero = float(np.mean([float(pair.forward.norm(dim=1).mean()) for pair in data]))
    assert endpoint_error(result.teacher_state, data) < 0.5 * zero
    assert result.chosen == "stage1" and result.stopped is None
    assert result.scores["stage1"].error < 0.5 * result.scores["initial"].error


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[AdaptationResult, Path]:
    """An uninterrupted tiny adaptation and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return tiny_adaptation.run(folder), folder


def test_all_stages_run_and_leave_what_they_made(whole: tuple[AdaptationResult, Path]):
    result, folder = whole
    assert set(result.teachers) == {"initial", "stage1", "round1/stage3"}
    assert set(result.scores) == set(result.teachers) | {"round1/stage2"}
    assert result.chosen == "round1/stage3" and result.stopped is None and result.student_state is not None
    states = list(result.teachers.values())
    assert len({tuple(state["pconv1_1.0.weight"].flatten().tolist()) for state in states}) == len(states)
    assert json.loads((folder / "adaptation.json").read_text())["chosen"] == "round1/stage3"
    deployed = torch.load(folder / "teacher.pt", weights_only=True)
    assert deployed["cost_volume_normalization"] is True
    assert all(torch.equal(deployed["state_dict"][name], value) for name, value in result.teacher_state.items())
    assert not list(folder.glob("**/labels")) and not list(folder.glob("**/checkpoint.pt"))
    events = [path.parent.relative_to(folder / "tensorboard") for path in folder.glob("tensorboard/**/events*")]
    assert {str(path) for path in events} >= {"stage1", "round1/stage2", "round1/stage3"}


def same(one: AdaptationResult, other: AdaptationResult) -> bool:
    return one.scores == other.scores and all(
        torch.equal(value, other.teachers[name][key])
        for name, state in one.teachers.items()
        for key, value in state.items()
    )


def start(folder: Path, *changes: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *changes], env=environment)


def test_a_run_killed_in_every_stage_ends_like_an_uninterrupted_one(
    whole: tuple[AdaptationResult, Path], tmp_path: Path
):
    """Kill at random moments, and at three fixed ones: after a checkpoint, while labels are made, after a result."""
    delays = iter(np.random.default_rng().uniform(0, 0.3, 3))
    for path in ("stage1/checkpoint.pt", "round1/stage2/labels", "round1/stage3/checkpoint.pt"):
        kill_once_there(start(tmp_path), tmp_path / path, next(delays))
    assert not (tmp_path / "adaptation.json").exists()
    assert same(tiny_adaptation.run(tmp_path), whole[0])
    for name in ("stage1", "round1/stage2", "round1/stage3"):
        logs = [(folder / name / "metrics.jsonl").read_text() for folder in (tmp_path, whole[1])]
        assert logs[0] == logs[1]


def test_a_finished_run_returns_at_once_what_it_made(whole: tuple[AdaptationResult, Path]):
    assert same(tiny_adaptation.run(whole[1]), whole[0])


def test_labels_that_do_not_fit_on_disk_change_nothing(whole: tuple[AdaptationResult, Path], tmp_path: Path):
    assert same(tiny_adaptation.run(tmp_path, "execution.label_cache_gigabytes=0"), whole[0])


def test_two_processes_give_the_result_of_one(tmp_path: Path):
    # With small steps, rounding, which Adam magnifies, stays below the bounds whatever the bundled weights are.
    rates = [f"stage{number}.optimization.learning_rate=1e-4" for number in (1, 2, 3)]
    alone, together = tmp_path / "alone", tmp_path / "together"
    result = tiny_adaptation.run(alone, *rates)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT), str(together), *rates]
    subprocess.run([sys.executable, *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=120)
    summary = json.loads((together / "adaptation.json").read_text())
    assert summary["chosen"] == result.chosen
    for name, score in result.scores.items():
        assert summary["scores"][name]["error"] == pytest.approx(score.error, abs=1e-3)
    for stage in ("stage1", "round1/stage2", "round1/stage3"):
        one, two = (
            [json.loads(line) for line in (folder / stage / "metrics.jsonl").read_text().splitlines()]
            for folder in (alone, together)
        )
        assert len(one) == len(two) == 3
        if stage == "stage1":  # before Adam has magnified rounding: the gradients themselves
            assert two[0] == pytest.approx(one[0], rel=1e-4)
        assert two[2]["loss"] == pytest.approx(one[2]["loss"], rel=3e-3), stage
    state = torch.load(together / "teacher.pt", weights_only=True)["state_dict"]
    moved, apart = (
        sum(float((value - other[name]).square().sum()) for name, value in state.items()) ** 0.5
        for other in (result.teachers["initial"], result.teacher_state)
    )
    assert apart < 0.15 * moved


def test_two_rounds_and_the_control_that_has_no_student(tmp_path: Path):
    result = tiny_adaptation.run(
        tmp_path, "rounds=2", "control=true", *(f"stage{n}.optimization.steps=1" for n in (1, 2, 3))
    )
    assert {"round1/stage2", "round2/stage2", "round1/stage3", "round2/stage3", "control"} <= set(result.scores)
    assert result.chosen == "round2/stage3"
    first = torch.load(tmp_path / "round1/stage2/result.pt", weights_only=True)["state"]
    assert result.student_state is not None
    apart = max(float((value - first[name]).abs().max()) for name, value in result.student_state.items())
    assert any(note.startswith("control: ") for note in result.notes)
    assert 0 < apart < 2 * 4e-4, "round 2 continues with the student of round 1"
    states = [result.teachers[name] for name in ("stage1", "round2/stage3", "control")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(states[one]["pconv1_1.0.weight"], states[other]["pconv1_1.0.weight"])


def test_a_finished_run_may_be_resumed_with_the_control_and_without_it(tmp_path: Path):
    steps = [f"stage{number}.optimization.steps=1" for number in (1, 2, 3)]
    alone = tiny_adaptation.run(tmp_path, *steps)
    run_file = tmp_path / "run.json"
    earlier = json.loads(run_file.read_text())
    earlier["config"]["control"] = False
    run_file.write_text(json.dumps(earlier))
    compared = tiny_adaptation.run(tmp_path, "control=true", *steps)
    skipped = tiny_adaptation.run(tmp_path, *steps)
    assert "control" in compared.teachers and "control" not in {*alone.teachers, *skipped.teachers}
    for result in (compared, skipped):
        assert result.chosen == alone.chosen
        for name, value in alone.teacher_state.items():
            assert torch.equal(value, result.teacher_state[name])


def test_a_teacher_may_begin_with_the_weights_of_a_student_of_its_kind(tmp_path: Path):
    result = tiny_adaptation.run(
        tmp_path,
        *("student.name=fastflownet", "student.weights=teacher", "stage3.start_from=student", "control=true"),
        *(f"stage{n}.optimization.{setting}" for n in (1, 3) for setting in ("steps=1", "warm_up=0")),
        *("stage2.optimization.steps=2", "stage3.optimization.learning_rate=0.000001"),
    )
    assert result.student_state is not None
    taught, student = result.teachers["round1/stage3"], result.student_state
    assert max(float((taught[name] - value).abs().max()) for name, value in student.items()) < 1e-5
    assert not all(torch.equal(value, result.teachers["stage1"][name]) for name, value in student.items())
    metrics = (tmp_path / "control/round1/metrics.jsonl").read_text().splitlines()
    assert json.loads(metrics[-1])["step"] == 2 + 1, "the student's updates are the teacher's, too"


def test_where_only_fine_decoders_learn_all_other_weights_stay(tmp_path: Path):
    result = tiny_adaptation.run(
        tmp_path,
        *("trained_weights=fine_decoders", "control=true"),
        *("student.name=fastflownet", "student.weights=teacher", "stage3.start_from=student"),
    )
    assert result.student_state is not None
    initial = result.teachers["initial"]
    for state in (result.teachers["stage1"], result.student_state, result.teachers["control"]):
        changed = {name.split(".")[0] for name, value in state.items() if not torch.equal(value, initial[name])}
        assert {"decoder4", "rconv4", "decoder3", "rconv3"} <= changed
        assert changed <= {
            *(f"{part}{level}" for part in ("decoder", "rconv") for level in (2, 3, 4)),
            "up3",
            "up4",
            "up5",
        }


def test_a_folder_with_another_run_is_refused(whole: tuple[AdaptationResult, Path]):
    with pytest.raises(ConfigError, match=r"stage1\.optimization\.steps was 3, now 5"):
        tiny_adaptation.run(whole[1], "stage1.optimization.steps=5")
    tiny_adaptation.run(whole[1], "execution.log_every=7")


@pytest.mark.parametrize("content", ["", "null", "[]"])
def test_a_damaged_file_of_a_run_is_named(content: str, tmp_path: Path):
    for name in ("run.json", "run_time.json", "scores.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=r"/run\.json is damaged \(.*\): delete its folder"):
        claim_folder(tmp_path, {}, ALONE)
    (tmp_path / "run.json").write_text('{"config": null}')
    with pytest.raises(ConfigError, match=r"/run\.json is damaged \(.*\): delete its folder"):
        claim_folder(tmp_path, {}, ALONE)
    with pytest.raises(ConfigError, match=r"/run_time\.json is damaged"):
        RunTime(tmp_path, 0.0)
    run = Run(load_adaptation_config(), tmp_path, ALONE, [], Size(128, 128))
    with pytest.raises(ConfigError, match=r"/scores\.json is damaged"):
        ScoreBook(run, [], Census())


def test_a_run_does_not_go_on_in_another_arithmetic(
    whole: tuple[AdaptationResult, Path], monkeypatch: pytest.MonkeyPatch
):
    """``precision: auto`` chooses another type on a computer with a GPU."""
    monkeypatch.setattr("mdflow_training.engine.loop.autocast_type", lambda *_: torch.bfloat16)
    with pytest.raises(ConfigError, match=r"network\.precision was float32, now bfloat16"):
        tiny_adaptation.run(whole[1])


def test_a_poor_student_does_not_teach(tmp_path: Path):
    result = tiny_adaptation.run(tmp_path, "validation.gate=true", "validation.minimum_gain=0.9")
    assert set(result.teachers) == {"initial", "stage1"} and result.chosen == "initial"
    assert any("is too poor, so it does not teach" in note for note in result.notes)
    assert any("initial stays" in note for note in result.notes)


def test_a_student_that_is_a_little_worse_may_teach(tmp_path: Path):
    changes = ("validation.gate=true", "validation.minimum_gain=0.9", "validation.student_tolerance=1000")
    result = tiny_adaptation.run(tmp_path, *changes)
    assert "round1/stage3" in result.teachers and result.chosen == "initial"
    assert any(note.endswith("teaches") for note in result.notes)


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ([1.0, 0.9, 0.95, 0.94], "round1/stage3"),  # within the tolerance of the best
        ([1.0, 0.9, 0.95, 0.96], "stage1"),
        ([1.0, 1.01, 1.0, 1.04], "round1/stage3"),  # within the tolerance of the first: the report decides
        ([1.0, 1.01, 1.0, 1.06], "initial"),
        ([1.0, 1.01, 1.0, 0.99], "round1/stage3"),
    ],
)
def test_what_learned_from_a_student_may_be_a_little_worse_than_the_best_and_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: list[float], chosen: str
):
    scripted = itertools.chain(errors, itertools.repeat(9.0))
    monkeypatch.setattr(
        "mdflow_training.adaptation.score_book.validate",
        lambda *_: LabelFreeScore(next(scripted), 0, 0, 1, 0),
    )
    steps = (f"stage{number}.optimization.steps=1" for number in (1, 2, 3))
    result = tiny_adaptation.run(tmp_path, "validation.gate=true", "rounds=2", *steps)
    assert result.chosen == chosen
    assert result.teacher_state is result.teachers[chosen]
    assert ("round2/stage2" in result.scores) == (errors[3] < min(errors[:2])), "only the best so far continues"


def test_a_stage_that_collapses_keeps_the_last_good_teacher(tmp_path: Path):
    changes = ("guards.window=1", "guards.minimum_visible=0.99", "stage1.occlusion.start=0")
    result = tiny_adaptation.run(tmp_path, *changes)
    assert result.stopped is not None and "of the pixels pass as visible" in result.stopped
    assert result.chosen == "initial" and "round1/stage2" not in result.scores


def test_flow_that_is_no_number_stops_a_stage_and_not_the_process(tmp_path: Path):
    result = tiny_adaptation.run(tmp_path, "stage1.optimization.learning_rate=1e9", "stage1.optimization.steps=6")
    assert result.stopped is not None and "the loss became" in result.stopped


def test_a_student_that_cannot_be_built_is_refused_before_anything_is_trained(tmp_path: Path):
    with pytest.raises(ValueError, match="unknown student raft_medium"):
        tiny_adaptation.run(tmp_path, "student.name=raft_medium")
    assert not (tmp_path / "stage1").exists()


def test_no_pairs_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="needs pairs"):
        adapt({}, [], [], load_adaptation_config(), tmp_path, ALONE)


class Fixed(FlowNetwork):
    """A network that returns the flows chosen by the test."""

    def __init__(self, flow: torch.Tensor) -> None:
        super().__init__(torch.nn.Identity(), "none")
        self.flow = flow

    def predict_both(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        return [self.flow]


def test_the_label_free_score_ranks_flows_as_truth_does():
    pair = AffinePair((128, 128), (5.0, -3.0), 0.03)
    ground_truth = torch.cat((pair.forward, pair.backward))
    torch.manual_seed(0)
    rough = torch.nn.functional.interpolate(torch.randn(2, 2, 16, 16), (128, 128), mode="bilinear")
    candidates = {
        "truth": ground_truth,
        "nearly": ground_truth + 0.2 * rough,
        "smooth": ground_truth.mean(dim=(2, 3), keepdim=True).expand_as(ground_truth).contiguous(),
        "half": 0.5 * ground_truth,
        "still": torch.zeros_like(ground_truth),
    }
    scores: dict[str, LabelFreeScore] = {}
    for name, flow in candidates.items():
        scores[name] = validate(Fixed(flow), [pair.arrays()], Size(128, 128), ValidationSettings(), ALONE, Census())
    errors = [score.error for score in scores.values()]
    assert errors == sorted(errors) and errors[-1] <= RANDOM_MATCH
    assert scores["still"].visible == 1 and scores["still"].disagreement == 0, "consistency alone prefers no motion"
    assert scores["truth"].is_better_than(scores["nearly"])
    assert not scores["truth"].is_better_than(scores["nearly"], min_gain=0.99)


def test_matches_that_are_picked_at_random_or_lie_outside_win_nothing():
    pair = AffinePair((128, 128), (5.0, -3.0), 0.03)
    ground_truth = torch.cat((pair.forward, pair.backward))
    outside, random = torch.full_like(ground_truth, 500.0), 20 * torch.randn_like(ground_truth)
    good, *bad = (
        validate(Fixed(flow), [pair.arrays()], Size(128, 128), ValidationSettings(), ALONE, Census())
        for flow in (ground_truth, random, outside)
    )
    assert all(score.error > 4 * good.error for score in bad)
    assert bad[1].census == pytest.approx(RANDOM_MATCH, abs=1e-4) and bad[0].disagreement > 0.5
