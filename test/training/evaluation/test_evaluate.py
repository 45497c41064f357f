# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest
import torch
from places import SHARED

from mdflow_ros.estimator import FlowEstimate, FlowEstimator
from mdflow_training.commands import evaluate as evaluate_command
from mdflow_training.commands.evaluate import main, mdflow_inference_size
from mdflow_training.evaluation import pictures
from mdflow_training.evaluation.baselines import create_baselines
from mdflow_training.evaluation.datasets import find_benchmarks
from mdflow_training.evaluation.flow_evaluation import evaluate_methods, without_confidence
from mdflow_training.evaluation.flow_pairs import LoadedPair
from mdflow_training.evaluation.synthetic_benchmark import synthetic_sets
from mdflow_training.evaluation.table import format_table
from mdflow_training.flow_files import read_image, write_flow, write_image
from mdflow_training.networks.fastflownet import FastFlowNet

SIZE = (72, 100)
EVAL = SHARED / "eval"


def textured(seed, size=SIZE):
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    return np.clip(4 * (cv2.GaussianBlur(noise, (0, 0), 2) - 127) + 127, 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    """A set of each layout, of images that move 3 px to the right and 4 px down."""
    root = tmp_path / "data"
    names = {
        "middlebury": ("A/frame10.png", "A/frame11.png", "A/flow10.flo"),
        "kitti2012": ("000001/000001_10.png", "000001/000001_11.png", "000001/occ_000001_10.png"),
        "sintel": ("frame_0001.png", "frame_0002.png", "frame_0001.flo"),
        "chairs": ("0000001_img1.ppm", "0000001_img2.ppm", "0000001_flow.flo"),
    }
    for seed, (name, (first, second, ground_truth)) in enumerate(names.items()):
        image = textured(seed)
        write_image(root / name / first, image)
        write_image(root / name / second, np.roll(image, (4, 3), axis=(0, 1)))
        flow = np.empty((*SIZE, 2), np.float32)
        flow[...] = (3, 4)
        write_flow(root / name / ground_truth, flow)
    noc = np.full((*SIZE, 2), np.nan, np.float32)
    noc[10:, 10:] = (3, 4)
    write_flow(root / "kitti2012/000001/noc_000001_10.png", noc)
    return root


@pytest.fixture
def evaluate(tmp_path):
    def run(data, *arguments):
        out = tmp_path / "reports" / "report.json"
        code = main(["--backend", "onnxruntime", "--data", str(data), "--out", str(out), *arguments])
        return code, json.loads(out.read_text()) if out.exists() else None

    return run


def test_every_set_of_a_folder_is_measured(evaluate, data):
    code, report = evaluate(data, "--baselines")
    assert code == 0
    assert set(report["sets"]) == {"middlebury", "kitti2012", "sintel", "chairs"}
    assert report["problems"] == []
    assert report["model"]["name"] and len(report["model"]["sha256"]) == 64
    for metrics in report["sets"].values():
        assert metrics["images"] == 1
        assert metrics["epe"] == metrics["epe_pixels"] == pytest.approx(sum(metrics["pairs"].values()))
        assert {"accuracy_1px", "accuracy_3px", "accuracy_5px", "fl_all", "epe_speed_0_10"} <= set(metrics)
        assert {"ause", "spearman", "epe_top_50", "epe_top_70", "epe_top_90", "calibration"} <= set(metrics)
        assert metrics["latency_ms"]["p95"] >= metrics["latency_ms"]["p50"] > 0
        assert set(metrics["baselines"]) == {"zero_flow", "dis_fast", "dis_medium", "farneback"}
        assert metrics["baselines"]["zero_flow"]["epe"] == 5
        assert metrics["baselines"]["zero_flow"]["fl_all"] == 100
        assert metrics["baselines"]["dis_medium"]["epe"] < 1.5
        assert "ause" not in metrics["baselines"]["dis_medium"]
    assert {"epe_noc", "epe_occ", "fl_noc", "fl_occ", "occlusion_f1"} <= set(report["sets"]["kitti2012"])
    assert "epe_noc" not in report["sets"]["sintel"]


def test_the_model_s_epe_is_that_of_its_flow(evaluate, data):
    _, report = evaluate(data / "sintel")
    first, second = (read_image(data / "sintel" / f"frame_000{frame}.png") for frame in (1, 2))
    flow = FlowEstimator(backend="onnxruntime").estimate(first, second).flow
    expected = np.linalg.norm(flow - np.array([3, 4]), axis=2).mean()
    assert report["sets"]["sintel"]["epe"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("threads", "opencv"), [("0", -1), ("2", 2)])
def test_all_methods_get_the_same_threads(threads, opencv, evaluate, data, monkeypatch):
    given = []
    monkeypatch.setattr(cv2, "setNumThreads", given.append)
    _, report = evaluate(data / "sintel", "--threads", threads)
    assert given == [opencv]
    assert report["machine"]["threads"] == int(threads)


def test_fewer_threads_than_none_are_refused(evaluate, data, capsys):
    with pytest.raises(SystemExit):
        evaluate(data, "--threads", "-1")
    assert "argument --threads: -1 is less than 0" in capsys.readouterr().err


def test_broken_and_missing_files_are_named_and_the_rest_goes_on(evaluate, data):
    (data / "middlebury/A/frame11.png").write_bytes(b"broken")
    (data / "chairs/0000001_img2.ppm").unlink()
    ground_truth = data / "kitti2012/000001/occ_000001_10.png"
    ground_truth.write_bytes(ground_truth.read_bytes()[:100])
    code, report = evaluate(data)
    assert code == 1
    assert set(report["sets"]) == {"sintel"}
    for name in ("frame11.png", "0000001_flow.flo", "occ_000001_10.png"):
        assert sum(name in problem for problem in report["problems"]) == 1
    assert len(report["problems"]) == 3


def test_problems_go_to_the_terminal_and_a_table_of_the_rest_too(evaluate, data, capsys):
    (data / "chairs/0000001_flow.flo").write_bytes(b"PIEH")
    evaluate(data, "--baselines")
    printed = capsys.readouterr()
    assert "0000001_flow.flo" in printed.err
    lines = printed.out.splitlines()
    methods = [line.split()[0] for line in lines[lines.index("sintel") + 1 :][:5]]
    assert methods == ["model", "zero_flow", "dis_fast", "dis_medium", "farneback"]
    assert "middlebury" in lines and "chairs" not in lines


def test_the_table_fits_into_100_columns():
    metrics = dict.fromkeys(("epe", "epe_pixels", "epe_noc", "epe_occ", "epe_top_70"), 123.456)
    percents = dict.fromkeys(("accuracy_1px", "accuracy_3px", "fl_all"), 100.0)
    metrics = {"images": 22872, **metrics, **percents, "ause": 0.5, "latency_ms": {"p50": 12345.6}}
    table = format_table({"MPI-Sintel-complete_clean": {**metrics, "baselines": {"dis_medium": metrics}}})
    assert max(map(len, table.splitlines())) <= 100
    assert "\nMPI-Sintel-complete_clean\nmodel       22872  123.46" in table


def test_an_output_that_cannot_be_written_is_told_before_anything_is_measured(evaluate, data, tmp_path, capsys):
    (tmp_path / "reports/report.json").mkdir(parents=True)
    code = main(["--data", str(data / "sintel"), "--out", str(tmp_path / "reports/report.json")])
    assert code == 2 and "report.json is a folder" in capsys.readouterr().err
    model = tmp_path / "teacher.onnx"
    model.write_bytes(b"weights")
    assert main(["--data", str(data / "sintel"), "--out", str(tmp_path / "teacher.json")]) == 2
    assert "belongs to the model" in capsys.readouterr().err and not (tmp_path / "teacher.json").exists()
    for name, content in (("run.json", '{"verdict": "improved"}'), ("notes.txt", "notes")):
        (tmp_path / name).write_text(content)
        assert main(["--data", str(data / "sintel"), "--out", str(tmp_path / name)]) == 2
        assert "is not a report of this kind" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == content
    in_the_way = data / "sintel/frame_0001.flo"
    for arguments in (
        ["--out", str(in_the_way / "r.json")],
        ["--out", str(tmp_path / "r"), "--pictures", str(in_the_way)],
    ):
        assert main(["--data", str(data / "sintel"), *arguments]) == 2
        printed = capsys.readouterr()
        assert "frame_0001.flo" in printed.err and "EPE" not in printed.out


def test_nothing_measurable_is_an_error_of_its_own(evaluate, data, tmp_path, capsys):
    assert evaluate(tmp_path / "nowhere") == (2, None)
    assert "no such folder" in capsys.readouterr().err
    assert evaluate(data, "--model", str(tmp_path / "none.onnx")) == (2, None)
    assert "none.onnx" in capsys.readouterr().err
    (data / "sintel/frame_0002.png").write_bytes(b"broken")
    assert evaluate(data / "sintel") == (2, None), "an empty report would replace the one before"


def test_an_official_checkpoint_is_imported_and_measured(evaluate, data, tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(FastFlowNet().state_dict(), tmp_path / "official.pth")
    code, report = evaluate(data / "sintel", "--model", str(tmp_path / "official.pth"))
    assert code == 0
    assert report["model"]["name"] == "official"
    assert report["sets"]["sintel"]["epe"] > 0
    assert [path.name for path in tmp_path.glob("*.onnx")] == []
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    assert evaluate(data / "sintel", "--model", str(tmp_path / "foreign.pth"))[0] == 2
    assert "foreign.pth" in capsys.readouterr().err


def test_pictures_show_images_flow_truth_error_and_confidence(evaluate, data, tmp_path):
    evaluate(data / "kitti2012", "--pictures", str(tmp_path / "pictures"))
    picture = read_image(tmp_path / "pictures/000001/000001_10.png")
    height, width = SIZE
    assert picture.shape == (3 * (height + 24), 2 * width, 3)
    assert (picture[24 : 24 + height, :width] == read_image(data / "kitti2012/000001/000001_10.png")).all()
    confidence = picture[-height:, width:].astype(int)
    assert np.ptp(confidence, axis=2).min() > 0, "in the node's colors, from violet to yellow, none of which is gray"


def test_a_full_disk_is_told_apart_from_what_could_not_be_measured(evaluate, data, tmp_path, monkeypatch, capsys):
    def full_disk(path, *_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(evaluate_command, "write_image", full_disk)
    code, report = evaluate(data / "chairs", "--quality", "fast", "--pictures", str(tmp_path / "pictures"))
    assert code == 1 and report["sets"]["chairs"]["images"] == 1
    assert "measured, but there is no picture: [Errno 28] No space left" in report["problems"][0]
    monkeypatch.setattr(evaluate_command, "write_json", full_disk)
    assert evaluate(data / "chairs", "--quality", "fast")[0] == 2
    output = capsys.readouterr()
    assert "error: [Errno 28] No space left on device" in output.err and "EPE" in output.out


def test_pictures_show_the_calibration_of_each_set(evaluate, data, tmp_path, monkeypatch):
    drawn = []
    draw = pictures.draw_calibration
    monkeypatch.setattr(evaluate_command, "draw_calibration", lambda *values: drawn.append(values) or draw(*values))
    _, report = evaluate(data, "--pictures", str(tmp_path / "pictures"))
    for (name, metrics), values in zip(report["sets"].items(), drawn, strict=True):
        assert values == (metrics["calibration"], metrics["ece"])
        assert read_image(tmp_path / "pictures" / f"{name}_calibration.png").shape == (480, 480, 3)


def test_the_reliability_diagram_has_a_bin_where_its_values_say():
    def blue(right):
        bins = [{"confidence": 0.8, "right_percent": right, "pixels_percent": 0.0}]
        image = cv2.imdecode(np.frombuffer(pictures.draw_calibration(bins, 0.1), np.uint8), cv2.IMREAD_COLOR)
        marks = (image.astype(int) - (180, 119, 31)).any(axis=2) == 0  # matplotlib's first color, BGR
        return np.flatnonzero(marks[:, 340:420].any(axis=1)).mean()

    height = blue(20.0) - blue(60.0)
    assert 130 < height < 190, "40 % of an axis of about 400 pixels"


def test_generated_sets_are_measured_without_any_file(evaluate, monkeypatch):
    monkeypatch.setattr("mdflow_training.evaluation.synthetic_benchmark.SIZE", (64, 128))
    code, report = evaluate("synthetic:2")
    assert code == 0
    assert {name: metrics["images"] for name, metrics in report["sets"].items()} == {
        "synthetic_planar": 2,
        "synthetic_world": 2,
    }
    for spec in ("synthetic:0", "synthetic:many"):
        assert evaluate(spec)[0] == 2


def test_generated_truth_explains_the_images():
    for pairs in synthetic_sets(6).values():
        unmoved, explained = np.array([differences(pair.load()) for pair in pairs]).T
        # Noise, blur and exposure differ from image to image and remain; in slow pairs little else does.
        assert (explained < unmoved).all()
        assert explained.sum() < 0.6 * unmoved.sum()


def differences(pair: LoadedPair) -> tuple[float, float]:
    """Return how much the images differ where both show the scene, as they are and after the true motion."""
    rows, columns = np.mgrid[: pair.first.shape[0], : pair.first.shape[1]].astype(np.float32)
    moved = cv2.remap(
        pair.second, columns + pair.ground_truth[..., 0], rows + pair.ground_truth[..., 1], cv2.INTER_LINEAR
    )
    unmoved, explained = (abs(image.astype(float) - pair.first).mean(axis=2) for image in (pair.second, moved))
    return unmoved[pair.visible].mean(), explained[pair.visible].mean()


def test_generated_pairs_are_the_same_every_time():
    for pair, *_ in synthetic_sets(1).values():
        once, again = pair.load(), pair.load()
        assert (once.first == again.first).all() and (once.ground_truth == again.ground_truth).all()


def test_mdflow_s_protocol_has_its_own_sizes():
    assert mdflow_inference_size((1024, 436)) == (1024, 448)
    for size in ((1242, 375), (1241, 376), (1226, 370), (1224, 370)):
        assert mdflow_inference_size(size) == (1024, 512)
    assert mdflow_inference_size((640, 480)) is None


@pytest.mark.parametrize(("protocol", "expected"), [("native", [None]), ("mdflow", [None, (1024, 512)])])
def test_the_protocol_decides_the_size_of_the_network(evaluate, tmp_path, monkeypatch, protocol, expected):
    sizes = []

    class Recorder(FlowEstimator):
        def __init__(self, model, backend, inference_size, options, quality):
            super().__init__(model, backend, inference_size, options=options, quality=quality)
            sizes.append(inference_size)

        def estimate(self, first, second, with_confidence=True):
            shape = getattr(first, "image", first).shape[:2]
            return FlowEstimate(np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32), 0.0)

    monkeypatch.setattr("mdflow_training.commands.evaluate.FlowEstimator", Recorder)
    for name in ("k_10.png", "k_11.png"):
        write_image(tmp_path / "k" / name, np.zeros((370, 1226, 3), np.uint8))
    write_flow(tmp_path / "k/occ_k_10.png", np.zeros((370, 1226, 2), np.float32))
    torch.save(FastFlowNet().state_dict(), tmp_path / "official.pth")
    for model in ([], ["--model", str(tmp_path / "official.pth")]):  # each size loads the imported model once more
        sizes.clear()
        assert evaluate(tmp_path / "k", "--protocol", protocol, *model)[0] == 0
        assert sizes == expected


class Pair:
    def __init__(self, name, ground_truth=(2, 0), size=(64, 64)):
        self.name = name
        self.ground_truth = ground_truth
        self.size = size

    def load(self):
        image = np.zeros((*self.size, 3), np.uint8)
        ground_truth = np.zeros((*self.size, 2), np.float32)
        ground_truth[...] = self.ground_truth
        return LoadedPair(image, image, ground_truth)


def test_a_pair_on_which_a_method_fails_counts_for_no_method():
    def steady(first, second):
        return np.zeros((*first.shape[:2], 2), np.float32), None

    def picky(first, second):
        if first.shape[0] > 64:
            raise ValueError("too large")
        return np.full((*first.shape[:2], 2), np.nan if first.shape[0] < 64 else 0, np.float32), None

    pairs = [Pair("good"), Pair("large", size=(65, 64)), Pair("small", size=(63, 64))]
    evaluation = evaluate_methods({"steady": steady, "picky": picky}, {"set": pairs})
    for score in evaluation.scores["set"].values():
        assert score.summary()["pairs"] == {"good": 2}
    assert evaluation.problems[0] == "set/large: too large"
    assert "set/small" in evaluation.problems[1] and "not finite" in evaluation.problems[1]


def test_a_pair_that_opencv_cannot_take_costs_no_other():
    """OpenCV fails on some pairs, for example on images with more than 32767 columns."""

    def narrow(first, second):
        if first.shape[0] > 64:
            cv2.remap(first, np.zeros((1, 40_000), np.float32), np.zeros((1, 40_000), np.float32), cv2.INTER_LINEAR)
        return np.zeros((*first.shape[:2], 2), np.float32), None

    evaluation = evaluate_methods({"m": narrow}, {"set": [Pair("large", size=(65, 64)), Pair("good")]})
    assert evaluation.scores["set"]["m"].summary()["pairs"] == {"good": 2}
    assert "set/large" in evaluation.problems[0]


def test_a_pair_whose_picture_fails_counts_for_every_method():
    def steady(first, second):
        return np.zeros((*first.shape[:2], 2), np.float32), None

    def full_disk(*arguments):
        raise OSError("no space left")

    evaluation = evaluate_methods({"one": steady, "two": steady}, {"set": [Pair("p")]}, full_disk)
    assert [score.summary()["epe"] for score in evaluation.scores["set"].values()] == [2, 2]
    assert evaluation.problems == ["set/p: no space left"]


def test_a_perfect_confidence_scores_perfectly():
    def half_right(first, second):
        flow = np.zeros((64, 64, 2), np.float32)
        flow[:32] = (2, 0)
        return flow, (flow[..., 0] == 2).astype(np.float32)

    metrics = evaluate_methods({"m": half_right}, {"s": [Pair("p")]}).scores["s"]["m"].summary()
    assert metrics["epe"] == 1
    assert metrics["epe_top_50"] == 0
    assert metrics["epe_top_90"] == pytest.approx(0.4 * 2 / 0.9)
    assert metrics["spearman"] == pytest.approx(1)


@pytest.mark.skipif(not EVAL.is_dir(), reason=f"no ground truth in {EVAL}")
def test_opencv_scores_on_real_pairs_what_it_is_known_to():
    cv2.setNumThreads(1)
    known = {"Dimetrodon": (2.06, 0.29, 0.16, 0.94), "RubberWhale": (1.26, 0.44, 0.23, 0.36)}
    sets = find_benchmarks(EVAL / "middlebury").sets
    methods = {name: without_confidence(baseline) for name, baseline in create_baselines().items()}
    scores = evaluate_methods(methods, {name: sets[name] for name in known}).scores
    for name, metrics in known.items():
        measured = [score.summary()["epe"] for score in scores[name].values()]
        assert measured == pytest.approx(metrics, abs=0.006)
