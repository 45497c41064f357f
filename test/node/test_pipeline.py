# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""From image message to flow, without a ROS graph: intensities, contrast, hostile messages."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from shifted_images import textured_image

from mdflow_ros.backends.backend import BackendError, BackendOptions
from mdflow_ros.core.frame_pairing import ResetReason
from mdflow_ros.core.image_decoding import SUPPORTED_ENCODINGS, CorruptImage
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.node import pipeline as pipeline_module
from mdflow_ros.node.diagnostics import FlowCounters
from mdflow_ros.node.messages import to_frame
from mdflow_ros.node.parameters import LiveSettings, NodeSettings
from mdflow_ros.node.pipeline import FlowPipeline

LIVE = LiveSettings(max_frame_gap=0.5, max_pixels=1_000_000, mask_invalid=False, confidence_threshold=0.1)
SETTINGS = NodeSettings(
    BUNDLED_MODEL,
    "onnxruntime",
    "balanced",
    inference_size=None,
    region=None,
    rectify=False,
    output_scale=1.0,
    backward=False,
    compressed=False,
    intensity_range="auto",
    options=BackendOptions(threads=1),
)
EXAMPLES = int(os.environ.get("MDFLOW_FUZZ_EXAMPLES", "700"))
"""Hostile messages of each kind; 100,000 are a matter of some minutes."""


@pytest.fixture(scope="module")
def estimator() -> FlowEstimator:
    return FlowEstimator(backend="onnxruntime", options=BackendOptions(threads=1))


@pytest.fixture
def pipeline(estimator: FlowEstimator) -> FlowPipeline:
    return make_pipeline(estimator)


def make_pipeline(estimator: FlowEstimator, report: Callable[[str], None] = lambda reason: None) -> FlowPipeline:
    pipeline = FlowPipeline(FlowCounters(), report, lambda settings: estimator)
    pipeline.configure(SETTINGS, estimator)
    return pipeline


def message(samples: np.ndarray, encoding: str, milliseconds: int) -> Image:
    height, width = samples.shape[:2]
    result = Image(height=height, width=width, encoding=encoding, step=samples.nbytes // height)
    result.header.stamp.sec, result.header.stamp.nanosec = 100, milliseconds * 1_000_000
    result.data = samples.tobytes()
    return result


@pytest.mark.parametrize(("low", "high"), [(0, 3760), (7400, 8260), (0, 65_535)])
def test_twelve_and_fourteen_bits_give_the_flow_of_eight(pipeline: FlowPipeline, low: int, high: int) -> None:
    texture = cv2.cvtColor(textured_image(128, 192), cv2.COLOR_RGB2GRAY).astype(float) / 255
    first = (low + (high - low) * texture).astype(np.uint16)
    assert pipeline.process(message(first, "mono16", 100), LIVE, True) is None
    result = pipeline.process(message(np.roll(first, 4, axis=1), "mono16", 200), LIVE, True)
    assert result is not None
    u, v = np.median(result.flow[16:-16, 16:-16], axis=(0, 1))
    assert u == pytest.approx(4, abs=0.3) and v == pytest.approx(0, abs=0.3)


def test_a_new_intensity_range_starts_a_new_pair(pipeline: FlowPipeline) -> None:
    texture = cv2.cvtColor(textured_image(128, 192), cv2.COLOR_RGB2GRAY).astype(np.uint16)
    pipeline.process(message(texture * 4, "mono16", 100), LIVE, False)
    assert pipeline.process(message(texture * 4 + 9000, "mono16", 200), LIVE, False) is None
    assert pipeline.pairer.last_reason == ResetReason.INTENSITY_RANGE_CHANGED
    assert pipeline.process(message(texture * 4 + 9000, "mono16", 300), LIVE, False) is not None


def test_a_swapped_model_keeps_the_last_image_and_the_intensity_range(
    pipeline: FlowPipeline, estimator: FlowEstimator
) -> None:
    first = cv2.cvtColor(textured_image(128, 192), cv2.COLOR_RGB2GRAY).astype(np.uint16) * 4
    pipeline.process(message(first, "mono16", 100), LIVE, False)
    pipeline.process(message(first + 9000, "mono16", 200), LIVE, False)
    old = pipeline.settings
    assert old is not None and not pipeline.swap_model(replace(old), old, estimator), "other settings hold by now"
    assert pipeline.swap_model(old, old, estimator)
    result = pipeline.process(message(np.roll(first, 4, axis=1) + 9100, "mono16", 300), LIVE, False)
    assert result is not None
    assert np.median(result.flow[16:-16, 16:-16], axis=(0, 1)) == pytest.approx([4, 0], abs=0.3)


class _SlowEstimator:
    """Encodes when told, and notes that it has begun."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def encode(self, image: np.ndarray) -> None:
        self.begun.set()
        assert self.go.wait(30)
        raise ValueError("an image that the network refuses")


def test_a_model_is_released_after_the_image_in_work() -> None:
    slow = _SlowEstimator()
    pipeline = make_pipeline(slow)  # type: ignore[arg-type]
    pipeline.process(message(textured_image(128, 192), "rgb8", 100), LIVE, False)
    second = message(textured_image(128, 192), "rgb8", 200)
    work = threading.Thread(target=pipeline.process, args=(second, LIVE, False))
    work.start()
    assert slow.begun.wait(30)
    release = threading.Thread(target=pipeline.release)
    release.start()
    release.join(0.2)
    assert release.is_alive() and pipeline.estimator is slow
    slow.go.set()
    work.join()
    release.join()
    assert pipeline.estimator is None and pipeline._encoded_by is None
    assert pipeline.process(second, LIVE, False) is None and pipeline.estimator is None


def test_a_reset_does_not_wait_for_the_image_in_work() -> None:
    slow = _SlowEstimator()
    pipeline = make_pipeline(slow)  # type: ignore[arg-type]
    pipeline.process(message(textured_image(128, 192), "rgb8", 100), LIVE, False)
    work = threading.Thread(target=pipeline.process, args=(message(textured_image(128, 192), "rgb8", 200), LIVE, False))
    work.start()
    assert slow.begun.wait(30)
    reset = threading.Thread(target=pipeline.reset)
    reset.start()
    reset.join(5)
    assert not reset.is_alive()
    slow.go.set()
    work.join()
    assert pipeline.process(message(textured_image(128, 192), "rgb8", 300), LIVE, False) is None
    assert pipeline.pairer.last_reason == ResetReason.FIRST_FRAME


class _FailingEstimator:
    def encode(self, image: np.ndarray) -> None:
        raise BackendError("cudaMalloc failed with cudaErrorMemoryAllocation (2)")


def test_a_failed_model_is_gone_before_it_is_loaded_again() -> None:
    alive: list[bool] = []
    models: list[weakref.ref[_FailingEstimator]] = []

    def load(settings: NodeSettings) -> _FailingEstimator:
        gc.collect()
        alive.extend(model() is not None for model in models)
        new = _FailingEstimator()
        models.append(weakref.ref(new))
        return new

    pipeline = FlowPipeline(FlowCounters(), print, load)  # type: ignore[arg-type]
    pipeline.configure(SETTINGS, load(SETTINGS))  # type: ignore[arg-type]
    for number in range(1, 5):
        pipeline._retry_time = 0.0
        pipeline.process(message(textured_image(128, 192), "rgb8", 100 * number), LIVE, False)
    assert alive and not any(alive)
    assert pipeline.failure is not None and "out of memory; close other programs" in pipeline.failure


def test_a_failed_model_is_tried_again_later_and_later(
    estimator: FlowEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tries, loads = 0.0, list[float](), list[float]()

    class Failing:
        def encode(self, image: np.ndarray) -> None:
            tries.append(now)
            raise BackendError("device lost")

    def load(settings: NodeSettings) -> FlowEstimator | Failing:
        assert not settings.options.may_build_engine, "that takes minutes"
        loads.append(now)
        return Failing() if now < 70 else estimator

    clock = types.SimpleNamespace(monotonic=lambda: now, perf_counter=time.perf_counter)
    monkeypatch.setattr(pipeline_module, "time", clock)
    counters, image = FlowCounters(), message(textured_image(64, 64), "rgb8", 0)
    pipeline = FlowPipeline(counters, lambda reason: None, load)  # type: ignore[arg-type]
    pipeline.configure(SETTINGS, Failing())  # type: ignore[arg-type]
    result = None
    while result is None and now < 200:
        image.header.stamp.sec, image.header.stamp.nanosec = 100 + int(now), int(now % 1 * 1e9)
        result = pipeline.process(image, LIVE, False)
        now += 0.5
    assert np.diff(tries).tolist() == [1, 2, 4, 8, 16, 30], "the first failure, and waits that double up to 30 seconds"
    assert loads == [*tries[2:], tries[-1] + 30], "from the second failure on, the model is loaded again"
    assert result is not None and pipeline.failure is None and counters.inference_failures == len(tries) == 7


def test_a_good_image_ends_the_report_of_a_bad_one(pipeline: FlowPipeline) -> None:
    pipeline.process(message(textured_image(128, 192), "h264", 100), LIVE, False)
    assert pipeline._counters.last_refusal is not None
    pipeline.process(message(textured_image(128, 192), "rgb8", 200), LIVE, False)
    assert pipeline._counters.last_refusal is None


def test_what_the_camera_did_not_see_has_no_confidence(estimator: FlowEstimator) -> None:
    pipeline = FlowPipeline(FlowCounters(), print, lambda settings: estimator)
    pipeline.configure(replace(SETTINGS, rectify=True), estimator)
    info = CameraInfo(width=192, height=128, distortion_model="plumb_bob", d=[0.0] * 5, r=np.eye(3).ravel())
    info.k = [100.0, 0.0, 96.0, 0.0, 100.0, 64.0, 0.0, 0.0, 1.0]
    info.p = [50.0, 0.0, 96.0, 0.0, 0.0, 50.0, 64.0, 0.0, 0.0, 0.0, 1.0, 0.0]  # half as large, black around it
    image = textured_image(128, 192)
    pipeline.process(message(image, "rgb8", 100), LIVE, True, info)
    result = pipeline.process(message(np.roll(image, 4, axis=1), "rgb8", 200), LIVE, True, info)
    assert result is not None and result.confidence is not None
    assert result.confidence[:25].max() == result.confidence[:, :40].max() == 0
    assert result.confidence[48:80, 72:120].mean() > 0.5


@pytest.mark.parametrize(("encoding", "dtype"), [("rgb8", np.uint8), ("mono16", np.uint16), ("32FC1", np.float32)])
def test_images_without_contrast_have_no_confidence(pipeline: FlowPipeline, encoding: str, dtype: type) -> None:
    shape = (128, 192, 3) if encoding == "rgb8" else (128, 192)
    for milliseconds in (100, 200):
        noise = np.random.default_rng(milliseconds).integers(0, 2, shape) * (1e-3 if encoding == "32FC1" else 1)
        result = pipeline.process(message((90 + noise).astype(dtype), encoding, milliseconds), LIVE, True)
    assert result is not None and result.confidence is not None
    assert result.confidence.max() == 0
    assert pipeline._counters.last_pair_has_contrast is False


def test_the_size_is_checked_before_cv_bridge_gets_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[Image] = []

    class CvBridge:
        def imgmsg_to_cv2(self, image: Image, encoding: str) -> np.ndarray:
            converted.append(image)
            return np.zeros((image.height, image.width, 3), np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=CvBridge))
    image = Image(height=200, width=300, encoding="special", data=b"packed")
    assert to_frame(image, 60_000, IntensityStretch()).image.shape == (200, 300, 3)
    with pytest.raises(CorruptImage, match=r"300x200 pixels, the limit is 0\.05 million"):
        to_frame(image, 50_000, IntensityStretch())
    assert len(converted) == 1


NUMBERS = st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1))
TEXT = st.one_of(st.sampled_from([*SUPPORTED_ENCODINGS, "64FC9", "jpeg", "h264", "rgb8; zstd"]), st.text(max_size=40))
HEADS = [b"", b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"II*\0", b"P6 9 9 255 "]
PICTURES = [
    cv2.imencode(kind, textured_image(70, 90))[1].tobytes() for kind in (".jpg", ".png", ".webp", ".tiff", ".bmp")
]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_no_image_message_disturbs_the_node(data: st.DataObject) -> None:
    hostile = Image(
        height=data.draw(NUMBERS),
        width=data.draw(NUMBERS),
        encoding=data.draw(TEXT).encode("utf-8", "ignore").decode(),
        step=data.draw(NUMBERS),
        is_bigendian=data.draw(st.integers(0, 255)),
    )
    hostile.data = data.draw(st.binary(max_size=300)) * data.draw(st.sampled_from([1, 200]))
    assert_unharmed(hostile, data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_no_compressed_message_disturbs_the_node(data: st.DataObject) -> None:
    hostile = CompressedImage(format=data.draw(TEXT).encode("utf-8", "ignore").decode())
    if data.draw(st.booleans()):
        picture = bytearray(data.draw(st.sampled_from(PICTURES)))
        for _ in range(data.draw(st.integers(1, 4))):
            picture[data.draw(st.integers(0, min(600, len(picture) - 1)))] = data.draw(st.integers(0, 255))
        hostile.data = bytes(picture[: data.draw(st.integers(0, len(picture)))])
    else:
        hostile.data = data.draw(st.sampled_from(HEADS)) + data.draw(st.binary(max_size=100))
    assert_unharmed(hostile, data)


class _NoEstimator:
    """Fails the test if inference is blamed for a message."""

    def encode(self, image: np.ndarray) -> None:
        raise ValueError("an image that the network refuses")


def assert_unharmed(hostile: Image | CompressedImage, data: st.DataObject) -> None:
    hostile.header.stamp.sec = data.draw(st.integers(-(2**31), 2**31 - 1))
    hostile.header.stamp.nanosec = data.draw(st.integers(0, 2**32 - 1))
    reports: list[str] = []
    pipeline = make_pipeline(_NoEstimator(), reports.append)  # type: ignore[arg-type]
    for _ in range(2):
        assert pipeline.process(hostile, LIVE, True) is None
    assert pipeline.failure is None
    assert all(len(report) < 3000 and report.isprintable() for report in reports)
