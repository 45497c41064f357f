# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from model_files import Weights, changed_teacher
from shifted_images import shifted_pair

from mdflow_ros.backends import selection
from mdflow_ros.backends.backend import Backend, BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.core.resizing import Size, resize_flow, resize_image
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import (
    BUNDLED_MODEL,
    ModelCard,
    ModelError,
    Preprocessing,
    card_path,
    load_card,
    save_model,
    sha256_of,
)
from mdflow_ros.model.weights import load_weights
from mdflow_ros.quality import QUALITIES


@pytest.fixture(scope="module")
def estimator() -> FlowEstimator:
    return FlowEstimator(backend="onnxruntime")


@pytest.mark.parametrize("size", [(64, 64), (100, 130), (240, 320), (201, 333)])
def test_any_size_gives_flow_and_confidence_of_that_size(estimator: FlowEstimator, size: tuple[int, int]) -> None:
    estimate = estimator.estimate(*shifted_pair(*size, right=2, down=1))
    assert estimate.flow.shape == (*size, 2) and estimate.flow.dtype == np.float32
    assert estimate.confidence is not None
    assert estimate.confidence.shape == size and estimate.confidence.dtype == np.float32
    assert estimate.confidence.min() >= 0 and estimate.confidence.max() <= 1
    assert estimate.inference_seconds > 0


def test_u_is_right_and_v_is_down(estimator: FlowEstimator) -> None:
    first, second = shifted_pair(256, 320, right=7, down=-3)
    np.testing.assert_allclose(np.median(estimator.estimate(first, second).flow, (0, 1)), [7, -3], atol=0.5)
    np.testing.assert_allclose(np.median(estimator.estimate(second, first).flow, (0, 1)), [-7, 3], atol=0.5)


@pytest.mark.parametrize(("inference_size", "output_scale"), [((320, 192), 1.0), (None, 0.5), ((192, 256), 0.25)])
def test_vectors_are_pixels_of_the_published_size(inference_size: tuple[int, int] | None, output_scale: float) -> None:
    scaled = FlowEstimator(backend="onnxruntime", inference_size=inference_size, output_scale=output_scale)
    flow = scaled.estimate(*shifted_pair(256, 320, right=8, down=-4)).flow
    assert flow.shape == (round(256 * output_scale), round(320 * output_scale), 2)
    np.testing.assert_allclose(np.median(flow, (0, 1)), [8 * output_scale, -4 * output_scale], atol=0.7 * output_scale)


def test_where_the_images_tell_nothing_the_flow_is_not_trusted(estimator: FlowEstimator) -> None:
    random = np.random.default_rng(0)
    row, column = np.mgrid[:240, :320]

    def floor(moved: int) -> np.ndarray:
        """A floor under uneven light, which shows noise and nothing else."""
        shade = 120 + 20 * np.sin((column - moved) / 150) * np.cos(row / 120)
        return np.clip(np.round(shade[..., None] + random.normal(0, 3, (240, 320, 3))), 0, 255).astype(np.uint8)

    estimate = estimator.estimate(floor(0), floor(5))
    assert np.median(np.hypot(*np.moveaxis(estimate.flow, -1, 0))) < 2.5  # wrong everywhere: it cannot be known
    assert estimate.confidence is not None and estimate.confidence.mean() < 0.55


def test_flow_without_confidence_is_the_same_flow(estimator: FlowEstimator) -> None:
    pair = shifted_pair(128, 192, right=3, down=1)
    both, alone = estimator.estimate(*pair), estimator.estimate(*pair, with_confidence=False)
    assert alone.confidence is None
    np.testing.assert_allclose(alone.flow, both.flow, atol=1e-4)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_two_threads_get_the_flow_of_their_own_pairs(backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    shared = FlowEstimator(backend=backend, options=BackendOptions(threads=1), quality="fast")
    pairs = [shifted_pair(128, 192, right=right, down=0) for right in (5, -5)]
    expected = [shared.estimate(*pair).flow for pair in pairs]
    with ThreadPoolExecutor(len(pairs)) as pool:
        estimates = [pool.submit(shared.estimate, *pair) for _ in range(15) for pair in pairs]
    for estimate, flow in zip(estimates, itertools.cycle(expected), strict=False):
        np.testing.assert_allclose(estimate.result().flow, flow, atol=1e-3)


def test_a_closed_estimator_says_so() -> None:
    closed = FlowEstimator(backend="onnxruntime", options=BackendOptions(threads=1))
    image, _ = shifted_pair(64, 64, right=0, down=0)
    encoded = closed.encode(image)
    closed.close()
    for use in (lambda: closed.encode(image), lambda: closed.estimate(encoded, encoded)):
        with pytest.raises(BackendError, match="the estimator is closed"):
            use()


@pytest.mark.parametrize("other", [{"inference_size": (192, 192)}, {"quality": "fast"}])
def test_a_frame_of_another_estimator_is_refused(other: dict[str, Any]) -> None:
    """Without features that the decoder needs, OpenVINO would use those of the pair before."""
    backend = "openvino" if "openvino" in selection.working_backends() else "onnxruntime"
    options = BackendOptions(threads=1)
    with FlowEstimator(backend=backend, quality="best", options=options) as estimator:
        with FlowEstimator(backend=backend, options=options, **other) as maker:
            encoded = [maker.encode(image) for image in shifted_pair(64, 128, right=1, down=1)]
        with pytest.raises(ValueError, match="encoded by another estimator; encode it with this one"):
            estimator.estimate(*encoded)


def test_a_with_statement_closes_the_estimator() -> None:
    with FlowEstimator(backend="onnxruntime", quality="fast") as estimator:
        image = np.zeros((64, 64, 3), np.uint8)
        estimator.estimate(image, image)
    with pytest.raises(BackendError, match="closed"):
        estimator.estimate(image, image)


def test_a_link_that_is_switched_while_a_model_is_loaded_mixes_no_two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`current` of a store may be switched between any two files that are read."""
    link, names = tmp_path / "current", ("old", "new")
    for name in names:
        (tmp_path / name).mkdir()

        def change(weights: Weights, name: str = name) -> None:
            weights["decoder3.conv7.bias"] = np.full(2, names.index(name), np.float32)

        changed_teacher(tmp_path / name / "teacher.onnx", change)
    link.symlink_to("old")
    read_card = ModelCard.from_json

    def switch(text: str) -> ModelCard:
        link.unlink()
        link.symlink_to("new")
        return read_card(text)

    monkeypatch.setattr(ModelCard, "from_json", switch)
    weights, card = load_weights(link / "teacher.onnx")
    assert card.sha256 == sha256_of(tmp_path / "old" / "teacher.onnx")
    assert weights["decoder3.conv7.bias"][0] == 0
    link.unlink()
    link.symlink_to("old")
    assert FlowEstimator(link / "teacher.onnx", "onnxruntime").model.parent.name == "old"


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_stream_of_encoded_frames_gives_the_flow_of_pairs(quality: str) -> None:
    estimator = FlowEstimator(backend="onnxruntime", options=BackendOptions(threads=1), quality=quality)
    first, second = shifted_pair(128, 192, right=5, down=-3)
    frames = [first, second, np.ascontiguousarray(second[::-1])]
    previous = estimator.encode(frames[0])
    for older, newer in itertools.pairwise(frames):
        encoded = estimator.encode(newer)
        streamed, pairwise = estimator.estimate(previous, encoded), estimator.estimate(older, newer)
        np.testing.assert_array_equal(streamed.flow, pairwise.flow)
        np.testing.assert_array_equal(streamed.confidence, pairwise.confidence)
        previous = encoded
    estimator.close()


def test_better_quality_decodes_finer_and_auto_means_balanced_on_a_cpu(estimator: FlowEstimator) -> None:
    assert estimator.quality == "balanced"
    with pytest.raises(ValueError, match=r"unknown quality 'perfect'; choose one of auto, fast, balanced, best"):
        FlowEstimator(quality="perfect")
    small, large = Size(192, 128), Size(1280, 704)
    sizes = [QUALITIES[name].inference_size(small) for name in ("fast", "balanced", "best")]
    assert sizes == [Size(192, 128), Size(320, 192), Size(320, 192)]
    assert {quality.inference_size(large) for quality in QUALITIES.values()} == {large}


def test_a_model_that_gives_nonsense_is_refused_before_it_is_used(tmp_path: Path) -> None:
    def overflow(weights: dict[str, np.ndarray]) -> None:
        weights["decoder3.conv7.weight"] *= 1e6

    with pytest.raises(BackendError, match=r"gives flow of .* pixels on a test pair"):
        FlowEstimator(changed_teacher(tmp_path / "wild.onnx", overflow), "onnxruntime")

    def spoil(weights: dict[str, np.ndarray]) -> None:
        weights["up4.bias"][0] = np.nan

    with pytest.raises(ModelError, match=r"up4\.bias is not finite"):
        FlowEstimator(changed_teacher(tmp_path / "spoiled.onnx", spoil), "onnxruntime")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_changed_card_is_checked_again(tmp_path: Path) -> None:
    model = changed_teacher(tmp_path / "model.onnx", lambda weights: None)
    FlowEstimator(model, "onnxruntime")
    constants = json.loads(card_path(model).read_text())
    balanced = constants["confidence"]["balanced"]
    balanced["deviation"] = [1e-300] * len(balanced["mean"])  # beyond float32
    card_path(model).write_text(json.dumps(constants))
    with pytest.raises(BackendError, match="not finite"):
        FlowEstimator(model, "onnxruntime")


def test_models_of_the_former_format_get_quality_levels(tmp_path: Path) -> None:
    """Before, the file held the confidence, and its card spelled `licence` and knew no calibration."""
    card = json.loads(card_path(BUNDLED_MODEL).read_text())
    card["licence"] = card.pop("license")
    del card["confidence"]
    model = tmp_path / "former.onnx"
    former_graph = onnx.load(BUNDLED_MODEL)
    directions = onnx.helper.make_tensor_value_info("directions", onnx.TensorProto.INT64, [1])
    confidence = onnx.helper.make_tensor_value_info("confidence", onnx.TensorProto.FLOAT, None)
    former_graph.graph.input.append(directions)
    former_graph.graph.output.append(confidence)
    former_graph.graph.node.append(onnx.helper.make_node("Abs", ["flow"], ["confidence"]))
    model.write_bytes(former_graph.SerializeToString())
    card["sha256"] = sha256_of(model)
    card_path(model).write_text(json.dumps(card))
    pair = shifted_pair(128, 192, right=5, down=-3)
    former, bundled = (
        FlowEstimator(path, "onnxruntime", quality="fast").estimate(*pair) for path in (model, BUNDLED_MODEL)
    )
    np.testing.assert_array_equal(former.flow, bundled.flow)
    np.testing.assert_array_equal(former.confidence, bundled.confidence)


@pytest.mark.parametrize("size", [Size(640, 120), Size(800, 120), Size(160, 120)])
def test_where_an_image_shrinks_it_is_averaged(size: Size) -> None:
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[::4] = 240
    resized = resize_image(stripes, size)
    assert resized.shape == (size.height, size.width, 3)
    np.testing.assert_allclose(resized, 60, atol=1)


def test_resizing_flow_scales_each_axis_by_its_own_factor() -> None:
    flow = np.ones((10, 20, 2), np.float32)
    resized = resize_flow(flow, Size(40, 5))
    assert resized.shape == (5, 40, 2)
    np.testing.assert_allclose(resized, np.broadcast_to([2.0, 0.5], (5, 40, 2)))


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8), "differ in size"),
        (np.zeros((63, 64, 3), np.uint8), np.zeros((63, 64, 3), np.uint8), "64x64"),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8), "uint8"),
        (np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3), np.float32), "float32"),
        (None, np.zeros((64, 64, 3), np.uint8), "not NoneType; cv2.imread returns None"),
        ("first.png", "second.png", "numpy array, not str"),
    ],
)
def test_bad_images_are_refused(estimator: FlowEstimator, first: Any, second: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        estimator.estimate(first, second)


@pytest.mark.parametrize(
    "arguments",
    [
        {"output_scale": 0.0},
        {"output_scale": 1.5},
        *({"inference_size": size} for size in ((0, 64), (640,), (640, 384, 3), (640.5, 384), "640x384", np.zeros(2))),
    ],
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"output_scale must|inference_size must"):
        FlowEstimator(**arguments)


def test_a_size_may_be_an_array() -> None:
    sized = FlowEstimator(backend="onnxruntime", inference_size=np.array([190, 128]), options=BackendOptions(threads=1))
    assert sized.inference_size(Size(320, 256)) == Size(192, 128)


def test_an_unknown_backend_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"abacus.*onnxruntime"):
        FlowEstimator(backend="abacus")


def test_a_backend_that_was_asked_for_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(selection.BACKENDS, "tensorrt", unavailable)
    with pytest.raises(BackendUnavailable, match="'tensorrt' cannot run here: no driver"):
        FlowEstimator(backend="tensorrt")


def test_auto_says_which_and_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("tensorrt", "openvino"):
        monkeypatch.setitem(selection.BACKENDS, name, unavailable)
    with caplog.at_level(logging.INFO, "mdflow_ros"):
        assert FlowEstimator(backend="auto").backend == "onnxruntime"
    assert "chose onnxruntime" in caplog.text and "no driver" in caplog.text


def test_auto_warns_that_a_device_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(selection.BACKENDS, "openvino", unavailable)
    FlowEstimator(backend="auto", options=BackendOptions(device="GPU"))
    assert [record.levelname for record in caplog.records if "device GPU is not used" in record.message] == ["WARNING"]


def test_auto_fails_if_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in selection.PREFERENCE:
        monkeypatch.setitem(selection.BACKENDS, name, unavailable)
    with pytest.raises(BackendUnavailable, match="no backend can run here"):
        FlowEstimator(backend="auto")


def unavailable(model: Path, options: BackendOptions) -> Backend:
    raise BackendUnavailable("no driver")


def test_runtime_needs_neither_torch_nor_ros() -> None:
    program = """
import sys
for absent in ("torch", "rclpy", "tensorrt", "openvino", "sensor_msgs"):
    sys.modules[absent] = None
import numpy as np
from mdflow_ros.estimator import FlowEstimator
import mdflow_ros.core.image_decoding, mdflow_ros.core.frame_pairing, mdflow_ros.core.flow_color
black = np.zeros((64, 64, 3), np.uint8)
assert FlowEstimator(backend="auto").estimate(black, black).flow.shape == (64, 64, 2)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


CARD = ModelCard("n", "", Preprocessing.RGB_SCALAR_MEAN, False, "MIT", metrics={"epe": 1.0})


def test_cards_survive_the_round_trip(tmp_path: Path) -> None:
    written = save_model(b"graph", CARD, tmp_path / "new" / "model.onnx")
    assert load_card(tmp_path / "new" / "model.onnx") == written
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.json", "model.onnx"]


@pytest.mark.parametrize("damage", ["model", "card", "missing model", "missing card", "unknown field"])
def test_damaged_models_are_refused_with_path_and_remedy(tmp_path: Path, damage: str) -> None:
    model = tmp_path / "model.onnx"
    save_model(b"graph", CARD, model)
    if damage == "model":
        model.write_bytes(b"graphs")
    elif damage == "card":
        card_path(model).write_text("[]")
    elif damage == "unknown field":
        card_path(model).write_text(json.dumps({**json.loads(card_path(model).read_text()), "color": "red"}))
    else:
        (model if damage == "missing model" else card_path(model)).unlink()
    with pytest.raises(ModelError, match=r"model\.(onnx|json).*import_checkpoint\.py"):
        FlowEstimator(model)


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_failed_write_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    card = save_model(b"old", CARD, tmp_path / "model.onnx")
    write = Path.write_bytes

    def full_disk(path: Path, content: bytes) -> int:
        if path.suffix == suffix:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_model(b"new", CARD, tmp_path / "model.onnx")
    assert load_card(tmp_path / "model.onnx") == card
    assert len(list(tmp_path.iterdir())) == 2


def test_bundled_model_matches_its_card() -> None:
    assert load_card(BUNDLED_MODEL).license == "Apache-2.0"


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize(("factor", "message"), [(1e4, "gives flow of .* pixels"), (1e30, "not finite")])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_model_with_absurd_flow_is_refused(backend: str, factor: float, message: str, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")

    def exaggerate(weights: dict[str, np.ndarray]) -> None:
        for name in weights:
            if name.startswith("decoder3.conv7"):
                weights[name] = weights[name] * np.float32(factor)

    model = changed_teacher(tmp_path / "absurd.onnx", exaggerate)
    for _ in range(2):  # a refusal is not remembered as a passed check
        with pytest.raises(BackendError, match=f"{message}.*use another model|rejected"):
            FlowEstimator(model, backend, options=BackendOptions(threads=1))
