# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch
from model_files import disturbed_teacher
from places import ROOT
from textured_pairs import AffinePair

from mdflow_ros.core.resizing import Size
from mdflow_ros.deployment.running_node import NodeError
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError, load_card
from mdflow_training.commands import adapt_from_bag, adaptation_report
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.evaluation.baselines import create_baselines
from mdflow_training.flow_files import Flow, write_flow, write_image
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.difference import Difference, compare, confidence_interval
from mdflow_training.judging.forgetting import generated_pairs
from mdflow_training.judging.ground_truth import load_ground_truth
from mdflow_training.judging.held_out_metrics import mean_metrics, measure_methods
from mdflow_training.judging.measures import CENSUS, EXTRAPOLATION, KNOWN_MOTION, MATCH_ERROR, MEASURES
from mdflow_training.judging.two_way_flow import baseline_method
from mdflow_training.judging.verdict import Verdict, decide, describe_control, describe_enlarged
from mdflow_training.losses.census import Census
from mdflow_training.report import page as report_page
from mdflow_training.report.comparison import compare_models, enlarged_sizes
from mdflow_training.report.report import AFTER, BEFORE, CONTROL, DIS, Report, write_report

RANKING = ROOT / "benchmarks" / "label_free_ranking.py"
specification = importlib.util.spec_from_file_location("label_free_ranking", RANKING)
assert specification is not None and specification.loader is not None
ranking = importlib.util.module_from_spec(specification)
specification.loader.exec_module(ranking)

SIZE = (128, 128)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


Change = tuple[float, float]


def difference(relative: float, half_width: float, pairs: int = 20) -> Difference:
    mean = 0.1 * relative
    return Difference(mean, (mean - 0.1 * half_width, mean + 0.1 * half_width), relative, pairs)


def differences(
    match: Change | None = None,
    census: Change | None = None,
    known_motion: Change | None = None,
    extrapolation: Change | None = None,
    pairs: int = 20,
) -> dict[str, Difference]:
    """Relative change of each deciding measure, and half the width of its interval."""
    changes = {MATCH_ERROR: match, CENSUS: census, KNOWN_MOTION: known_motion, EXTRAPOLATION: extrapolation}
    return {name: difference(*change, pairs) for name, change in changes.items() if change is not None}


FALLEN, RISEN, UNCLEAR = (-0.10, 0.05), (0.10, 0.05), (-0.10, 0.11)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ((FALLEN, FALLEN, FALLEN, FALLEN), Verdict.IMPROVED),
        ((FALLEN, FALLEN, RISEN, FALLEN), Verdict.IMPROVED),
        ((FALLEN, UNCLEAR, UNCLEAR, FALLEN), Verdict.IMPROVED),
        ((UNCLEAR, UNCLEAR, FALLEN, FALLEN), Verdict.IMPROVED),
        ((FALLEN, FALLEN, None, None), Verdict.IMPROVED),
        ((FALLEN, UNCLEAR, UNCLEAR, UNCLEAR), Verdict.NO_CHANGE),
        ((FALLEN, FALLEN, RISEN, UNCLEAR), Verdict.NO_CHANGE),
        ((FALLEN, RISEN, FALLEN, FALLEN), Verdict.NO_CHANGE),
        ((UNCLEAR, UNCLEAR, UNCLEAR, UNCLEAR), Verdict.NO_CHANGE),
        (((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), Verdict.NO_CHANGE),
        ((RISEN, UNCLEAR, UNCLEAR, UNCLEAR), Verdict.NO_CHANGE),
        ((RISEN, UNCLEAR, RISEN, UNCLEAR), Verdict.WORSE),
        ((RISEN, RISEN, FALLEN, RISEN), Verdict.WORSE),
        ((FALLEN, None, None, None), Verdict.NO_CHANGE),
        ((None, None, None, None), Verdict.NO_CHANGE),
    ],
)
def test_two_more_measures_must_fall_than_rise(changes: tuple[Change | None, ...], verdict: Verdict):
    assert decide(differences(*changes), True)[0] is verdict


def test_what_training_did_not_choose_is_not_improved_but_may_be_worse():
    assert decide(differences(FALLEN, FALLEN), False)[0] is Verdict.NO_CHANGE
    assert decide(differences(RISEN, RISEN), False)[0] is Verdict.WORSE


@pytest.mark.parametrize("pairs", [1, 7])
def test_few_pairs_prove_nothing(pairs: int):
    for change in (FALLEN, RISEN):
        verdict, reason = decide(differences(change, change, pairs=pairs), True)
        assert verdict is Verdict.NO_CHANGE and "8 held-out pairs are needed at least" in reason


def test_a_teacher_that_matches_worse_in_view_is_not_improved():
    verdict, reason = decide(differences(FALLEN, (0.01, 0.005), FALLEN, FALLEN), True)
    assert verdict is Verdict.NO_CHANGE and "visible pixels match less well" in reason


def test_one_measure_must_change_by_a_hundredth():
    small = (-0.006, 0.002)
    assert decide(differences(small, small, small, small), True)[0] is Verdict.NO_CHANGE
    assert decide(differences(small, small, small, FALLEN), True)[0] is Verdict.IMPROVED
    risen = (0.006, 0.002)
    assert decide(differences(risen, risen, risen, risen), True)[0] is Verdict.NO_CHANGE
    assert decide(differences(risen, risen, risen, RISEN), True)[0] is Verdict.WORSE


def test_the_control_is_judged_by_the_same_measures():
    for changes, relation in (
        ((FALLEN, FALLEN, RISEN, FALLEN), "better than"),
        ((RISEN, UNCLEAR, RISEN, UNCLEAR), "worse than"),
        ((FALLEN, UNCLEAR, UNCLEAR, UNCLEAR), "no different from"),
    ):
        assert f"the teacher is {relation} the control" in describe_control(differences(*changes))


def test_every_verdict_exits_differently_and_none_like_an_error():
    statuses = [*(verdict.exit_status for verdict in Verdict), adapt_from_bag.NOT_DEPLOYED]
    assert Verdict.IMPROVED.exit_status == 0 and len(set(statuses)) == 4 and not {1, 2, 130} & set(statuses)


@pytest.mark.parametrize(
    ("count", "alike", "least"), [(8, 0.0, 0.92), (39, 0.0, 0.92), (39, 0.5, 0.86), (100, 0.5, 0.9)]
)
def test_the_interval_covers_the_mean_about_as_often_as_it_says(count: int, alike: float, least: float):
    noise = np.random.default_rng(0).normal(size=(2000, count))
    samples = noise.copy()
    for step in range(1, count):
        samples[:, step] = alike * samples[:, step - 1] + math.sqrt(1 - alike**2) * noise[:, step]
    covered = [low < 0 < high for low, high in map(confidence_interval, samples)]
    assert least < np.mean(covered) < 0.98


def test_frames_that_are_alike_make_the_interval_wider():
    alike = np.repeat(np.random.default_rng(1).normal(size=36), 6)
    shuffled = np.random.default_rng(2).permutation(alike)
    (low, high), (low_shuffled, high_shuffled) = confidence_interval(alike), confidence_interval(shuffled)
    assert high - low > 1.3 * (high_shuffled - low_shuffled)


def test_a_measure_of_few_pairs_has_no_interval_and_no_vote():
    change = compare(np.linspace(1, 2, 7), np.linspace(2, 4, 7))
    assert change is not None and np.isnan(change.interval).all() and change.vote == 0
    verdict, _ = decide({MATCH_ERROR: difference(-0.1, 0.05, 20), KNOWN_MOTION: change}, True)
    assert verdict is Verdict.NO_CHANGE


def test_only_pairs_that_both_have_are_compared():
    change = compare(np.array([1.0, np.nan, 3.0]), np.array([2.0, 2.0, np.nan]))
    assert change is not None and (change.mean, change.relative, change.pairs) == (-1.0, -0.5, 1)
    assert compare(np.array([np.nan]), np.array([1.0])) is None


def test_the_measure_that_decides_ranks_as_the_true_error_and_no_trivial_flow_wins():
    """Like benchmarks/label_free_ranking.py, but with OpenCV's flow instead of the teacher's."""
    scenes = ranking.find_scenes(5, (128, 192), 0.06, effects=False)
    pairs = [(scene.first[..., ::-1].copy(), scene.second[..., ::-1].copy()) for scene in scenes]
    methods = {name: baseline_method(baseline) for name, baseline in create_baselines().items()}
    trivial = {
        "over-smooth": ranking.smoothed(32),
        "one motion": lambda flow: np.zeros_like(flow) + flow.mean(axis=(0, 1)),
    }
    changes = trivial | {
        "disturbed by 1 px": ranking.disturbed(1),
        "disturbed by 4 px": ranking.disturbed(4),
        "half its length": lambda flow: np.float32(0.5) * flow,
    }
    methods |= {name: ranking.changed(methods["dis_medium"], change) for name, change in changes.items()}
    metrics = measure_methods(methods, pairs, range(len(pairs)), Census(), lambda index: scenes[index].forward)
    means = {name: mean_metrics(of_method) for name, of_method in metrics.items()}
    agreement = {measure: ranking.agreement(metrics, measure) for measure in ranking.LABEL_FREE}
    assert agreement[MATCH_ERROR] > 0.8, (agreement, means)
    for name in ("zero_flow", *trivial):
        assert means[name][MATCH_ERROR] > 1.2 * means["dis_medium"][MATCH_ERROR], means
    assert means["zero_flow"]["consistency"] == 1, "which is why consistency alone would not do"


@pytest.fixture(scope="module")
def scenes() -> list[AffinePair]:
    random = np.random.default_rng(0)
    return [AffinePair(SIZE, tuple(random.uniform(-5, 5, 2)), 0.01, seed=seed) for seed in range(8)]


def true_flow(scenes: list[AffinePair], index: int) -> Flow:
    return np.ascontiguousarray(scenes[index].forward[0].permute(1, 2, 0).numpy())


def test_verdict_and_truth_agree_on_better_worse_and_same(scenes: list[AffinePair], tmp_path: Path):
    pairs = [scene.arrays() for scene in scenes]
    bad = disturbed_teacher(tmp_path, 1.0)

    def judge(before: Path, after: Path, count: int) -> Report:
        models = {BEFORE: before, AFTER: after, CONTROL: bad}
        recordings = ["1: garage" if index < 5 else "2: street" for index in range(count)]
        return compare_models(models, pairs[:count], lambda index: true_flow(scenes, index), recordings=recordings)[0]

    better, worse, same = judge(bad, BUNDLED_MODEL, 8), judge(BUNDLED_MODEL, bad, 8), judge(bad, bad, 2)
    assert [report.verdict for report in (better, worse, same)] == [
        Verdict.IMPROVED,
        Verdict.WORSE,
        Verdict.NO_CHANGE,
    ]
    # A model that has forgotten does not lose by it, but the report says so.
    errors = better.about["error_on_generated_pairs"]
    still = np.mean([np.linalg.norm(flow, axis=-1).mean() for _, _, flow in generated_pairs()])
    assert errors[AFTER] < errors[BEFORE] == errors[CONTROL] and errors[AFTER] < 0.5 * still
    change = f"{errors[BEFORE]:.2f} -> {errors[AFTER]:.2f} px (-"
    assert change in better.reason and "px (+0%)" in same.reason
    assert "better than the control" in better.reason and "no different from the control" in same.reason
    assert "by the ground truth: endpoint error -" in better.reason and ", AUSE " in better.reason
    change = better.differences["after - before"]
    assert change["epe"].mean < 0 and change["coverage"].mean > 0, better.means()
    assert set(change) == set(MEASURES) - {EXTRAPOLATION}, "the images are too small for a part of them"
    assert {name: of["epe"].pairs for name, of in better.recordings.items()} == {"1: garage": 5, "2: street": 3}
    assert all(of["epe"].mean < 0 for of in better.recordings.values()) and not same.recordings
    write_report(better, [], tmp_path / "report")
    assert "2: street" in (tmp_path / "report" / "report.html").read_text()
    # The node itself enlarges so small images by 1.5.
    assert set(better.means()) == {BEFORE, AFTER, CONTROL, DIS, "before at 2 times the size"}
    assert "the old model with inference_size [" in worse.reason and "better than the new model" not in better.reason
    work = describe_enlarged(worse.differences["after - before"], Size(384, 320), Size(320, 256))
    assert "[384, 320] is better than the new model, but the network then needs 1.5 times as many" in work
    assert "coverage" not in better.means()[DIS], "DIS has no confidence"


def test_larger_inputs_are_larger_than_the_usual_one_and_bounded_by_the_image():
    once, twice = "before at 1.5 times the size", "before at 2 times the size"
    assert enlarged_sizes(Size(256, 192), Size(384, 320)) == {twice: Size(512, 384)}
    assert enlarged_sizes(Size(400, 240), Size(448, 256)) == {once: Size(640, 384), twice: Size(832, 512)}
    assert enlarged_sizes(Size(640, 480), Size(640, 512)) == {}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "src":
                self.sources.append(value or "")
            elif name == "href":
                self.linked.append(value or "")


def write_frames(folder: Path, count: int, step: float = 3.0) -> str:
    folder.mkdir()
    for number in range(count):
        frame = AffinePair(SIZE, (step * number, -step * number / 2), seed=3).arrays()[1]
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame[..., ::-1])
    return f"images:{folder}"


SETTINGS = (
    "rounds=0",
    "stage1.optimization.steps=2",
    "stage1.optimization.batch_size=1",
    "execution.log_every=1",
    "frames.held_out_share=0.6",
    "validation.gate=false",
)


def adapt(*arguments: str) -> int:
    return adapt_from_bag.main([*arguments, *(part for setting in SETTINGS for part in ("--set", setting))])


def test_the_page_says_once_of_each_measure_which_value_is_better(tmp_path: Path):
    means = {BEFORE: dict.fromkeys(MEASURES, 0.5)}
    report_page.write_page(report_page.Page("improved", "", "", means, {}, {}, [], {}), tmp_path / "report.html")
    rows = (tmp_path / "report.html").read_text().split("<tr><td>")[1:]
    assert len(rows) == len(MEASURES) and all(row.count("is better") == 1 for row in rows)


def test_adaptation_ends_with_report_and_full_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    source = write_frames(tmp_path / "frames", 12)
    status = adapt(source, "--out", str(out))
    report = json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)
    assert status == {verdict.value: verdict.exit_status for verdict in Verdict}[report["verdict"]]
    printed = capsys.readouterr().out
    before, after = (report["means"][name]["match_error"] for name in (BEFORE, AFTER))
    assert f"{report['verdict']}: {report['reason']}\n" in printed
    assert f"{before:.4f} before, {after:.4f} after" in printed
    # 12 frames, 7 held out, 6 pairs: 3 to choose by, 2 to report on, which share no frame with these.
    assert len(report["pairs"]) == report["images"]["held_out_pairs"] == 2
    (recording,) = report["recordings"]
    assert recording["files"] == 12 and len(recording["sha256"]) == 64
    assert report["settings"]["stage1"]["optimization"]["steps"] == 2 and report["seconds_of_this_run"] > 0

    card = load_card(out / "teacher.onnx")
    assert card.parent == f"sha256:{load_card(BUNDLED_MODEL).sha256}" == report["models"]["after"]["parent"]
    assert card.sha256 == report["models"]["after"]["sha256"] != report["models"]["before"]["sha256"]
    assert card.metrics["verdict"] == report["verdict"] and card.metrics["held_out"] == report["means"]
    assert card.training["recordings"] == report["recordings"] and card.training["settings"] == report["settings"]
    assert card.license == load_card(BUNDLED_MODEL).license

    # Judged once more: by the same pairs, and never over the run's own report.
    assert adaptation_report.main([source, "--after", str(out / "teacher.onnx"), "--out", str(out)]) == 1
    assert "holds an adaptation and its report" in capsys.readouterr().err
    again = tmp_path / "again"
    assert adaptation_report.main([source, "--after", str(out / "teacher.onnx"), "--out", str(again)]) == status
    repeated = json.loads((again / "report.json").read_text())
    assert repeated["means"][AFTER] == report["means"][AFTER] and repeated["rule"] == report["rule"]

    page = Page()
    page.feed((out / "report.html").read_text())
    # 3 frames of image, flows and confidences, and the loss curves: all within the page.
    assert len(page.sources) == 3 * 5 + 1 and page.linked == []
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)


def test_truth_is_found_by_stamps(scenes: list[AffinePair], tmp_path: Path):
    flow = true_flow(scenes, 0)
    for number in range(3):
        write_image(tmp_path / f"{number:08d}.bmp", np.zeros((*flow.shape[:2], 3), np.uint8))
    pairs = RecordedPairs(tmp_path, np.array([100, 200, 300]), np.array([[0, 1], [1, 2]]))
    write_flow(tmp_path / "200_300.flo", flow)
    ground_truth = load_ground_truth(tmp_path, pairs)
    assert ground_truth(0) is None
    np.testing.assert_array_equal(ground_truth(1), flow)
    with pytest.raises(ValueError, match=r"stamps of both frames, such as 100_200\.flo"):
        load_ground_truth(tmp_path, pairs.select([0]))
    write_flow(tmp_path / "100_200.flo", flow[:-1])
    with pytest.raises(ValueError, match=r"100_200\.flo has 128x127 pixels, but its frames have 128x128"):
        load_ground_truth(tmp_path, pairs)
    write_flow(tmp_path / "100_200.flo", np.full_like(flow, np.nan))
    with pytest.raises(ValueError, match=r"100_200\.flo contains no valid flow"):
        load_ground_truth(tmp_path, pairs)


@pytest.mark.parametrize("kind", ["static", "black"])
def test_what_cannot_be_learned_from_keeps_the_old_model(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / kind
    folder.mkdir()
    frame = AffinePair(SIZE, (0, 0)).arrays()[0] if kind == "static" else np.zeros((*SIZE, 3), np.uint8)
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    out = tmp_path / "run"
    assert adapt(f"images:{folder}", "--out", str(out), "--deploy") == Verdict.NO_CHANGE.exit_status
    report = json.loads((out / "report.json").read_text())
    assert report["verdict"] == "no change" and "keep the old model" in report["reason"]
    assert "not deployed" in capsys.readouterr().out and not (out / "teacher.onnx").exists()
    assert "keep the old model" in (out / "report.html").read_text()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_an_improved_teacher_is_deployed(
    verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    deployed: list[tuple[Path, Path, str]] = []
    monkeypatch.setattr(
        adapt_from_bag, "deploy", lambda model, store, node: deployed.append((model, store.folder, node)) or "deployed"
    )
    store = tmp_path / "store"
    assert adapt_from_bag.print_and_deploy(Report(verdict, "why"), tmp_path, "/mdflow", store) == verdict.exit_status
    assert deployed == ([(tmp_path / "teacher.onnx", store, "/mdflow")] if verdict is Verdict.IMPROVED else [])
    assert ("not deployed" in capsys.readouterr().out) == (verdict is not Verdict.IMPROVED)


@pytest.mark.parametrize("error", [NodeError("no node answers"), ModelError("it is damaged"), OSError("disk full")])
def test_a_failed_deployment_says_how_to_do_it_later(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(adapt_from_bag, "deploy", fail)
    model, store = tmp_path / "teacher.onnx", tmp_path / "the store"
    status = adapt_from_bag.print_and_deploy(Report(Verdict.IMPROVED, "why"), tmp_path, "/left/mdflow", store)
    printed = capsys.readouterr()
    assert status == adapt_from_bag.NOT_DEPLOYED
    assert "improved: why" in printed.out and f"the adapted teacher is {model}" in printed.out
    assert f"error: not deployed: {error}" in printed.err
    assert f"deploy_model {model} --node /left/mdflow --store '{store}'" in printed.err


@pytest.mark.parametrize(("processes", "status"), [(1, Verdict.NO_CHANGE.exit_status), (2, 0)])
def test_torchrun_does_not_take_a_verdict_for_a_crash(
    processes: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(adapt_from_bag, "setup", lambda: ProcessContext(0, processes, torch.device("cpu")))
    monkeypatch.setattr(adapt_from_bag, "adapt_from_recordings", lambda *_: Report(Verdict.NO_CHANGE, "why"))
    assert adapt_from_bag.main(["robot.mcap", "--out", str(tmp_path)]) == status
    assert "no change: why" in capsys.readouterr().out


def test_a_store_without_deployment_is_a_mistake(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        adapt_from_bag.main(["robot.mcap", "--store", "models"])
    assert "add --deploy" in capsys.readouterr().err


def test_two_models_can_be_compared_on_any_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_frames(tmp_path / "frames", 10)
    arguments = [source, "--after", str(BUNDLED_MODEL), "--out", str(tmp_path / "report")]
    assert adaptation_report.main(arguments) == Verdict.NO_CHANGE.exit_status
    assert (
        tmp_path / "report" / "report.html"
    ).exists() and "held-out pairs are needed at least" in capsys.readouterr().out
    rule = json.loads((tmp_path / "report" / "report.json").read_text())["rule"]
    assert "recordings that no model has learned from, as far as their cards tell: the match error" in rule
    assert adaptation_report.main([source, "--after", str(tmp_path / "none.onnx"), "--out", str(tmp_path)]) == 1
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "report" / "report.json").write_text('{"sets": {}}')
    assert adaptation_report.main(arguments) == 1
    assert "report.json is not a report of this kind" in capsys.readouterr().err


def test_a_page_escapes_what_it_is_given(tmp_path: Path):
    write_report(Report(Verdict.NO_CHANGE, "<script>alert(1)</script>"), [], tmp_path)
    assert "<script>" not in (tmp_path / "report.html").read_text()
