# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The node as a separate process, over the real rclpy and DDS."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

import rclpy
from lifecycle_msgs.msg import Transition
from node_harness import ENVIRONMENT, PATIENCE, Client, client, image_message, running_node
from rclpy.lifecycle import LifecycleState
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from shifted_images import shifted_pair, textured_image
from std_msgs.msg import Float64
from std_srvs.srv import SetBool, Trigger

from mdflow_ros.backends.backend import BackendError
from mdflow_ros.node import lifecycle_node
from mdflow_ros.node.parameters import NodeSettings

DOMAIN = 20
HEIGHT, WIDTH = 128, 192
FRAME = textured_image(HEIGHT, WIDTH)


def field(message: Image) -> np.ndarray:
    """Return the float32 field of a 32FC1 or 32FC2 message."""
    channels = {"32FC1": 1, "32FC2": 2}[message.encoding]
    assert message.step == message.width * channels * 4 and not message.is_bigendian
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, channels)


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    """One node, with the defaults, for all tests that leave it as it was."""
    with running_node(DOMAIN):
        yield


@pytest.fixture
def camera(node: None) -> Iterator[Client]:
    with client(DOMAIN) as instance:
        instance.wait_until_listening()
        yield instance


@pytest.mark.parametrize(("direction", "sign"), [("forward", 1), ("backward", -1)])
def test_flow_has_the_right_sign_axis_and_scale(direction: str, sign: int) -> None:
    first, second = shifted_pair(256, 320, right=7, down=-3)
    with running_node(DOMAIN + 1, "-p", f"direction:={direction}"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(first, 1000)
        camera.publish_and_wait(second, 1100)
        flow = field(camera.received["flow"][0])
    assert flow.shape == (256, 320, 2)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [7 * sign, -3 * sign], atol=0.5)


def test_one_output_per_pair_under_one_header(camera: Client) -> None:
    info = CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    info.k[[0, 2, 4, 5, 8]] = 100.0, 192.0, 120.0, 128.0, 1.0
    info.p[[0, 2, 3, 5, 6, 10]] = 100.0, 192.0, -50.0, 120.0, 128.0, 1.0
    camera.wait_until_listening(camera.camera_info)
    camera.camera_info.publish(info)
    camera.spin_for(0.2)
    camera.publish(FRAME, 1000)
    for stamp in (1100, 1200, 1300):
        camera.publish_and_wait(FRAME, stamp)
    camera.spin_until(lambda: all(len(messages) == 3 for messages in camera.received.values()))
    camera.spin_for(0.3)
    received = camera.received
    assert [len(messages) for messages in received.values()] == [3, 3, 3, 3]
    for flow, confidence, scaled, previous, stamp in zip(*received.values(), (1100, 1200, 1300), strict=True):
        assert flow.header == confidence.header == scaled.header == previous.header
        assert flow.header == image_message(FRAME, stamp).header
        assert previous.time_ref == image_message(FRAME, stamp - 100).header.stamp
        assert (flow.encoding, confidence.encoding) == ("32FC2", "32FC1")
        values = field(confidence)
        assert values.shape == (HEIGHT, WIDTH, 1) and values.min() >= 0 and values.max() <= 1
        assert (scaled.width, scaled.height, list(scaled.d)) == (WIDTH, HEIGHT, list(info.d))
        np.testing.assert_allclose(scaled.k, info.k * [0.5, 1, 0.5, 1, 0.5, 0.5, 1, 1, 1])
        np.testing.assert_allclose(scaled.p, [50, 0, 96, -25, 0, 60, 64, 0, 0, 0, 1, 0])


def test_published_size_and_vectors_follow_output_scale() -> None:
    first, second = shifted_pair(256, 320, right=8, down=0)
    arguments = ("-p", "output_scale:=0.5", "-p", "inference_size:=[200, 200]")
    with running_node(DOMAIN + 1, *arguments), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(first, 1000)
        camera.publish_and_wait(second, 1100)
        flow = field(camera.received["flow"][0])
    assert flow.shape == (128, 160, 2)
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [4, 0], atol=0.4)


SMALLER = np.ascontiguousarray(FRAME[:64, :64])


@pytest.mark.parametrize(
    ("reason", "image", "stamp", "overrides"),
    [
        ("equal_stamp", FRAME, 1100, {}),
        ("stamp_went_back", FRAME, 900, {}),
        ("zero_stamp", FRAME, 0, {}),
        ("gap", FRAME, 1700, {}),
        ("size_changed", SMALLER, 1200, {}),
        ("encoding_changed", FRAME, 1200, {"encoding": "bgr8"}),
        ("frame_id_changed", FRAME, 1200, {"frame_id": "other"}),
    ],
)
def test_what_starts_a_new_pair(camera: Client, reason: str, image: np.ndarray, stamp: int, overrides: dict) -> None:
    camera.publish(FRAME, 1000)
    camera.publish_and_wait(FRAME, 1100)
    # The tests share one node: to it, the first image above has gone back behind the images of the test before.
    before = int(camera.latest_diagnostics().get(f"resets.{reason}", 0))
    camera.publish(image, stamp, **overrides)
    camera.spin_until(
        lambda: camera.diagnostics and int(camera.diagnostics[-1].get(f"resets.{reason}", 0)) == before + 1
    )
    assert len(camera.received["flow"]) == 1
    # Two good frames later flow is back.
    camera.publish(FRAME, 5000)
    camera.publish_and_wait(FRAME, 5100)


def test_max_rate_skips_images() -> None:
    with running_node(DOMAIN + 1, "-p", "max_rate:=5.0"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        for stamp in (1100, 1200, 1300):
            camera.publish(FRAME, stamp)
        camera.publish_and_wait(FRAME, 1400)
        previous = [
            message.time_ref.sec * 1000 + message.time_ref.nanosec // 10**6
            for message in camera.received["previous_stamp"]
        ]
        assert previous == [1000, 1200]
        assert int(camera.latest_diagnostics()["frames_skipped"]) == 2


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_cameras_of_either_reliability(reliability: ReliabilityPolicy) -> None:
    with running_node(DOMAIN + 1, lose_nothing=False), client(DOMAIN + 1, reliability=reliability) as camera:
        camera.wait_until_listening()
        for stamp in range(1000, 11000, 100):
            camera.publish(FRAME, stamp)
            if camera.received["flow"]:
                break
        assert camera.received["flow"]


BAD = {
    "unknown encoding": ({"encoding": "64FC9"}, "frames_unsupported", "64FC9.*supported are rgb8"),
    "short data": ({"data": b"\0" * 100}, "frames_corrupt", "100 bytes"),
    "no data": ({"data": b""}, "frames_corrupt", "0 bytes"),
    "zero width": ({"width": 0}, "frames_corrupt", "0x128"),
    "zero height": ({"height": 0}, "frames_corrupt", "192x0"),
    "small step": ({"step": 5, "data": bytes(FRAME.nbytes + 1)}, "frames_corrupt", "step of 5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_dropped_counted_and_reported(camera: Client, case: str) -> None:
    overrides, counter, complaint = BAD[case]
    before = int(camera.latest_diagnostics()[counter])
    camera.publish(FRAME, 1000)
    camera.publish(FRAME, 1100, **overrides)
    camera.spin_until(lambda: camera.diagnostics and int(camera.diagnostics[-1][counter]) == before + 1)
    assert camera.diagnostics[-1]["level"] == "2"
    assert re.search(complaint, camera.diagnostics[-1]["message"])
    assert not camera.received["flow"]
    camera.publish_and_wait(FRAME, 1200)


def test_images_too_small_for_the_network_are_reported(camera: Client) -> None:
    tiny = np.ascontiguousarray(FRAME[:32, :32])
    before = int(camera.latest_diagnostics()["frames_corrupt"])
    camera.publish(tiny, 1000)
    camera.spin_for(0.1)
    camera.publish(tiny, 1100)
    camera.spin_until(lambda: camera.diagnostics and int(camera.diagnostics[-1]["frames_corrupt"]) == before + 1)
    assert "64x64" in camera.diagnostics[-1]["message"]


def test_nothing_is_computed_while_nobody_subscribes(node: None) -> None:
    with client(DOMAIN, outputs=()) as camera:
        computed = camera.latest_diagnostics()["pairs_computed"]
        for stamp in range(1000, 2000, 100):
            camera.publish(FRAME, stamp)
            camera.spin_for(0.03)
        idle = camera.latest_diagnostics()
        assert idle["idle_because"] == "nobody subscribes" and idle["pairs_computed"] == computed
        assert camera.image.get_subscription_count() == 0
        subscription = camera.subscribe("flow")
        camera.wait_until_listening()
        camera.publish(FRAME, 3000)
        camera.publish_and_wait(FRAME, 3100)
        camera.node.destroy_subscription(subscription)
        camera.spin_until(lambda: camera.image.get_subscription_count() == 0, "the node to stop listening")


def test_masking_is_live_and_bad_values_are_refused(camera: Client) -> None:
    camera.publish(FRAME, 1000)
    camera.publish_and_wait(FRAME, 1100)
    assert np.isfinite(field(camera.received["flow"][-1])).all()
    assert camera.set_parameter("confidence_threshold", 1.0).successful
    assert camera.set_parameter("mask_invalid", True).successful
    camera.publish_and_wait(FRAME[:, ::-1].copy(), 1200)
    flow, confidence = field(camera.received["flow"][-1]), field(camera.received["confidence"][-1])
    np.testing.assert_array_equal(np.isnan(flow).all(-1), confidence[..., 0] < 1)
    assert np.isnan(flow).any()
    assert camera.set_parameter("mask_invalid", False).successful

    for name, value in [
        ("confidence_threshold", 1.5),
        ("max_frame_gap", -1.0),
        ("backend", "abacus"),
        ("direction", "sideways"),
        ("inference_size", [10, 10]),
        ("autostart", False),
        ("mask_invalid", "yes"),
    ]:
        result = camera.set_parameter(name, value)
        assert not result.successful and result.reason, name


def test_max_frame_gap_is_live(camera: Client) -> None:
    assert camera.set_parameter("max_frame_gap", 2.0).successful
    camera.publish(FRAME, 1000)
    camera.publish_and_wait(FRAME, 2500)
    assert camera.set_parameter("max_frame_gap", 0.5).successful


def test_services_answer_while_frames_flow() -> None:
    """A service must not wait for the inference, which takes half a second and more here."""
    large = textured_image(512, 640)
    with running_node(DOMAIN + 1, "-p", "threads:=1", "-p", "quality:=best"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        stamp, waits = 1000, []
        while len(waits) < 8 or len(camera.received["flow"]) < 2:
            stamp += 50
            camera.publish(large, stamp)
            start = time.monotonic()
            assert camera.set_parameter("confidence_threshold", 0.2).successful
            assert camera.state() == "active"
            waits.append((time.monotonic() - start) / 2)
            assert len(waits) < 100, "no flow"
        camera.spin_until(lambda: camera.diagnostics and camera.diagnostics[-1]["inference_ms_mean"])
        inference = float(camera.diagnostics[-1]["inference_ms_mean"]) / 1e3
        assert int(camera.diagnostics[-1]["frames_dropped"]) > 0
        assert np.median(waits) < inference / 4


HOLD_ESTIMATES = """
import time
from pathlib import Path
from mdflow_ros.estimator import FlowEstimator

estimate = FlowEstimator.estimate


def estimate_when_told(*arguments):
    while Path(HOLD).exists():
        Path(HOLD).with_name("waiting").touch()
        time.sleep(0.02)
    return estimate(*arguments)


FlowEstimator.estimate = estimate_when_told
"""
"""Estimates wait while the file HOLD exists, and make one named waiting."""


@pytest.mark.parametrize("service", ["reset", "enable"])
def test_services_that_start_a_new_pair_neither_wait_nor_let_an_old_one_through(service: str, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with running_node(DOMAIN + 1, before=f"HOLD = {str(hold)!r}{HOLD_ESTIMATES}"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        hold.touch()
        camera.publish(FRAME, 1000)
        camera.publish(FRAME, 1100)
        camera.spin_until((tmp_path / "waiting").exists, "the node to estimate")
        if service == "reset":
            assert camera.call(Trigger, service, Trigger.Request()).success
        else:
            for data in (False, True):
                assert camera.call(SetBool, service, SetBool.Request(data=data)).success
        hold.unlink()
        camera.spin_for(1.0)
        assert not camera.received["flow"]
        camera.wait_until_listening()
        camera.publish(FRAME, 1200)
        camera.publish_and_wait(FRAME, 1300)
        assert camera.received["previous_stamp"][-1].time_ref.nanosec == 200_000_000


def test_lifecycle_goes_round_twice() -> None:
    with running_node(DOMAIN + 1, "-p", "autostart:=false"), client(DOMAIN + 1) as camera:
        assert camera.state() == "unconfigured"
        for _ in range(2):
            assert camera.change_state(Transition.TRANSITION_CONFIGURE)
            assert camera.state() == "inactive"
            assert camera.change_state(Transition.TRANSITION_ACTIVATE)
            camera.wait_until_listening()
            camera.publish(FRAME, 1000)
            camera.publish_and_wait(FRAME, 1100)
            assert camera.change_state(Transition.TRANSITION_DEACTIVATE)
            camera.spin_until(lambda: camera.image.get_subscription_count() == 0)
            assert camera.change_state(Transition.TRANSITION_CLEANUP)
            assert camera.latest_diagnostics()["idle_because"] == "not configured"
        assert camera.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert camera.state() == "finalized"
        assert camera.latest_diagnostics()["message"] == "shut down; start the node again"


def test_two_cameras_side_by_side() -> None:
    domain = DOMAIN + 1
    with (
        running_node(domain, "-r", "__ns:=/left"),
        running_node(domain, "-r", "__ns:=/right"),
        client(domain, namespace="/left") as left,
        client(domain, namespace="/right") as right,
    ):
        for camera in (left, right):
            camera.wait_until_listening()
        for camera in (left, right):
            camera.publish(FRAME, 1000)
        left.publish_and_wait(FRAME, 1100)
        right.publish_and_wait(FRAME, 1200)
        left.spin_for(0.3)
        stamps = [[m.header.stamp.nanosec // 1_000_000 for m in c.received["flow"]] for c in (left, right)]
    assert stamps == [[100], [200]]


def broken_models(folder: Path) -> dict[str, Path]:
    """Return a model of every kind that must be refused."""
    from mdflow_ros.model.card import BUNDLED_MODEL, card_path

    graph, card = BUNDLED_MODEL.read_bytes(), card_path(BUNDLED_MODEL).read_text()
    models = {"missing": folder / "missing.onnx"}
    for name, content, text in [
        ("corrupt", graph[: len(graph) // 2], card),
        ("without_card", graph, None),
        ("bad_card", graph, "{"),
    ]:
        models[name] = folder / f"{name}.onnx"
        models[name].write_bytes(content)
        if text is not None:
            card_path(models[name]).write_text(text)
    return models


def test_broken_models_fail_to_configure_and_the_node_survives(tmp_path: Path) -> None:
    models = broken_models(tmp_path)
    with running_node(DOMAIN + 1, "-p", f"model:={models['missing']}"), client(DOMAIN + 1) as camera:
        for model in models.values():
            assert camera.set_parameter("model", str(model)).successful
            assert not camera.change_state(Transition.TRANSITION_CONFIGURE)
            diagnostics = camera.latest_diagnostics()
            assert model.stem in diagnostics["message"] and "import_checkpoint.py" in diagnostics["message"]
            assert diagnostics["level"] == "2"
            assert camera.state() == "unconfigured"
        assert camera.set_parameter("model", "").successful
        assert camera.change_state(Transition.TRANSITION_CONFIGURE)
        assert camera.change_state(Transition.TRANSITION_ACTIVATE)
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        camera.publish_and_wait(FRAME, 1100)


def test_reloading_swaps_the_model_or_keeps_the_old_one(camera: Client, tmp_path: Path) -> None:
    camera.publish(FRAME, 1000)
    camera.publish_and_wait(FRAME, 1100)
    assert camera.set_parameter("model", str(broken_models(tmp_path)["corrupt"])).successful
    answer = camera.call(Trigger, "reload_model", Trigger.Request())
    assert not answer.success and "kept the old model" in answer.message
    camera.publish_and_wait(FRAME, 1200)
    assert camera.set_parameter("model", "").successful
    assert camera.call(Trigger, "reload_model", Trigger.Request()).success
    camera.publish_and_wait(FRAME, 1300)


HOLD_RELOADS = """
import threading
import time
from pathlib import Path
from mdflow_ros.estimator import FlowEstimator

load, one_at_a_time = FlowEstimator.__init__, threading.Lock()


def load_when_told(*arguments):
    if not arguments[5].may_build_engine:
        assert one_at_a_time.acquire(blocking=False)
        while not Path(GO).exists():
            Path(GO).with_name("waiting").touch()
            time.sleep(0.02)
        one_at_a_time.release()
    load(*arguments)


FlowEstimator.__init__ = load_when_told
"""
"""A reload waits for the file GO, and makes one named waiting; configuring does not."""


def test_frames_flow_and_services_answer_while_models_are_loaded(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with running_node(DOMAIN + 1, before=f"GO = {str(go)!r}{HOLD_RELOADS}"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        service = camera.node.create_client(Trigger, "/mdflow/reload_model")
        camera.spin_until(service.service_is_ready)
        answers = [service.call_async(Trigger.Request()) for _ in range(2)]
        camera.publish(FRAME, 1000)
        for stamp in range(1100, 2100, 100):
            camera.publish_and_wait(FRAME, stamp)
            assert camera.set_parameter("max_frame_gap", 0.5).successful
            assert camera.state() == "active"
        assert not any(answer.done() for answer in answers)
        go.touch()
        camera.spin_until(lambda: all(answer.done() for answer in answers), "both answers")
        assert all(answer.result().success for answer in answers)


def test_a_model_that_is_loaded_too_late_is_dropped(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with running_node(DOMAIN + 1, before=f"GO = {str(go)!r}{HOLD_RELOADS}"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        service = camera.node.create_client(Trigger, "/mdflow/reload_model")
        camera.spin_until(service.service_is_ready)
        for scale, configure_anew in ((0.5, False), (0.25, True)):
            answer = service.call_async(Trigger.Request())
            camera.spin_until((tmp_path / "waiting").exists, "the node to load the model")
            assert camera.change_state(Transition.TRANSITION_DEACTIVATE)
            assert camera.change_state(Transition.TRANSITION_CLEANUP)
            assert camera.set_parameter("output_scale", scale).successful
            if configure_anew:
                assert camera.change_state(Transition.TRANSITION_CONFIGURE)
            go.touch()
            camera.spin_until(answer.done, "an answer")
            assert not answer.result().success and "while the model was being loaded" in answer.result().message
            go.unlink()
            (tmp_path / "waiting").unlink()
            if not configure_anew:
                assert camera.latest_diagnostics()["idle_because"] == "not configured"
                assert camera.change_state(Transition.TRANSITION_CONFIGURE)
            assert camera.change_state(Transition.TRANSITION_ACTIVATE)
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        camera.publish_and_wait(FRAME, 1100)
        assert field(camera.received["flow"][-1]).shape[:2] == (HEIGHT // 4, WIDTH // 4)


def test_a_load_that_ends_does_not_hide_another(monkeypatch: pytest.MonkeyPatch) -> None:
    holds = {name: threading.Event() for name in ("short", "long")}
    begun = threading.Barrier(3)

    def load_when_told(model: Path, *_: object) -> None:
        begun.wait(20)
        assert holds[model.name].wait(20)
        raise BackendError("enough")

    monkeypatch.setattr(lifecycle_node, "FlowEstimator", load_when_told)
    rclpy.init(args=["--ros-args", "-p", "autostart:=false"], domain_id=DOMAIN + 78)
    node = lifecycle_node.FlowNode()
    settings = NodeSettings.from_node(node)
    with ThreadPoolExecutor(2) as pool:
        loads = {name: pool.submit(node._load, replace(settings, model=Path(name))) for name in holds}
        begun.wait(20)
        for name, is_loading in (("short", True), ("long", False)):
            holds[name].set()
            assert isinstance(loads[name].exception(20), BackendError)
            assert node.is_loading == is_loading
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.mark.parametrize("transition", ["on_deactivate", "on_shutdown", "on_error"])
def test_no_transition_goes_on_while_a_pair_is_being_published(transition: str) -> None:
    rclpy.init(args=["--ros-args", "-p", "autostart:=false"], domain_id=DOMAIN + 78)
    node = lifecycle_node.FlowNode()
    node._active = True
    with ThreadPoolExecutor(1) as pool:
        with node._publishing:
            done = pool.submit(getattr(node, transition), LifecycleState("active", 3))
            assert not wait([done], timeout=0.5).done and node._active
        done.result(20)
    assert not node._active
    node.destroy_node()
    rclpy.try_shutdown()


LOAD_SLOWLY = """
import time
from mdflow_ros.estimator import FlowEstimator

load = FlowEstimator.__init__


def load_slowly(*arguments):
    time.sleep(2.0)
    load(*arguments)


FlowEstimator.__init__ = load_slowly
"""


@pytest.mark.parametrize("reloading", [False, True])
def test_ctrl_c_ends_the_node_while_a_model_is_loaded(reloading: bool) -> None:
    """`running_node` sees to it that the node exits cleanly, and soon."""
    with running_node(DOMAIN + 1, before=LOAD_SLOWLY), client(DOMAIN + 1) as camera:
        service = camera.node.create_client(Trigger, "/mdflow/reload_model")
        camera.spin_until(service.service_is_ready)
        if reloading:
            camera.wait_until_listening()
            service.call_async(Trigger.Request())
            camera.spin_for(0.5)


LOSE_THE_DEVICE = """
from mdflow_ros.backends.backend import BackendError
from mdflow_ros.estimator import FlowEstimator

load, estimate, devices = FlowEstimator.__init__, FlowEstimator.estimate, []


def count_devices(*arguments):
    load(*arguments)
    devices.append(arguments[0])


def lose_the_first_device(self, *arguments):
    lose_the_first_device.calls += bool(devices)  # not the check at loading, which may have passed before
    if devices and self is devices[0] and lose_the_first_device.calls > 1:
        raise BackendError("cudaStreamSynchronize: device lost (46)")
    return estimate(self, *arguments)


lose_the_first_device.calls = 0
FlowEstimator.__init__, FlowEstimator.estimate = count_devices, lose_the_first_device
"""


def publish_until(condition: Callable[[], object], camera: Client, image: np.ndarray, stamps: Iterator[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s; last diagnostics: {camera.diagnostics[-1:]}"
        camera.publish(image, next(stamps))
        camera.spin_for(0.2)


def test_a_failed_inference_is_repeated_and_the_model_loaded_anew() -> None:
    with running_node(DOMAIN + 1, before=LOSE_THE_DEVICE), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        camera.publish_and_wait(FRAME, 1100)
        camera.publish(FRAME, 1200)
        camera.spin_until(lambda: camera.diagnostics and camera.diagnostics[-1]["inference_failures"] == "1")
        assert camera.diagnostics[-1]["level"] == "2" and "device lost (46)" in camera.diagnostics[-1]["message"]
        assert camera.state() == "active"
        stamps = iter(range(1300, 20000, 100))
        publish_until(
            lambda: len(camera.received["flow"]) >= 2 and camera.diagnostics[-1]["level"] == "0", camera, FRAME, stamps
        )
        assert camera.diagnostics[-1]["inference_failures"] == "2"


def test_the_node_recovers_when_memory_was_short() -> None:
    spare = 30 << 20
    with running_node(DOMAIN + 1) as process, client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        camera.publish_and_wait(FRAME, 1100)
        status = Path(f"/proc/{process.pid}/status").read_text()
        used = int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) * 1024
        resource.prlimit(process.pid, resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
        larger = textured_image(960, 1280)
        stamps = iter(range(2000, 100000, 100))
        publish_until(
            lambda: camera.diagnostics and "out of memory" in camera.diagnostics[-1]["message"], camera, larger, stamps
        )
        assert camera.diagnostics[-1]["level"] == "2" and camera.state() == "active"
        resource.prlimit(process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        publish_until(lambda: len(camera.received["flow"]) >= 2, camera, larger, stamps)


def test_another_node_of_the_same_name_is_named() -> None:
    with client(DOMAIN + 1) as camera:
        with running_node(DOMAIN + 1) as alone:
            camera.latest_diagnostics()
        namesake = rclpy.create_node("mdflow", context=camera.context)
        with running_node(DOMAIN + 1) as second:
            camera.latest_diagnostics()
            camera.spin_for(2.0)
        namesake.destroy_node()
    assert "another node is called /mdflow" in second.printed and "another node" not in alone.printed


def test_simulated_time_without_a_clock_stops_neither_flow_nor_diagnostics() -> None:
    first, second = shifted_pair(256, 320, right=7, down=-3)
    with running_node(DOMAIN + 1, "-p", "use_sim_time:=true"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening()
        camera.publish(first, 1000)
        camera.publish_and_wait(second, 1100)
        np.testing.assert_allclose(np.median(field(camera.received["flow"][0]), axis=(0, 1)), [7, -3], atol=0.5)
        assert camera.latest_diagnostics()["clock"] == "waiting for /clock"


def test_the_latency_of_stamps_of_another_clock_is_unknown() -> None:
    with running_node(DOMAIN + 1), client(DOMAIN + 1) as camera:
        latencies: list[float] = []
        camera.node.create_subscription(Float64, "mdflow/latency_ms", lambda message: latencies.append(message.data), 9)
        camera.wait_until_listening()
        camera.publish(FRAME, 1000)
        camera.publish_and_wait(FRAME, 1100)
        other_clock = camera.latest_diagnostics()
        now = time.time_ns() // 10**6
        camera.publish(FRAME, now - 100)
        camera.publish_and_wait(FRAME, now)
        same_clock = camera.latest_diagnostics()
    assert "header.stamp is 1" in other_clock["clock"] and other_clock["latency_ms_mean"] == ""
    assert same_clock["clock"] == "system time" and 0 < float(same_clock["latency_ms_mean"]) < 10_000
    assert len(latencies) == 1


def test_compressed_images() -> None:
    first, second = shifted_pair(256, 320, right=7, down=-3)
    with running_node(DOMAIN + 1, "-p", "image_transport:=compressed"), client(DOMAIN + 1) as camera:
        camera.wait_until_listening(camera.compressed)
        for stamp, image in ((1000, first), (1100, second)):
            message = CompressedImage(header=image_message(image, stamp).header, format="rgb8; jpeg compressed bgr8")
            message.data = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
            camera.compressed.publish(message)
            camera.spin_for(0.15)
        camera.spin_until(lambda: camera.received["flow"], "flow")
        flow = field(camera.received["flow"][0])
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [7, -3], atol=0.5)


def test_a_value_out_of_range_on_the_command_line_is_named() -> None:
    command = [sys.executable, "-m", "mdflow_ros.node.flow_node", "--ros-args", "-p", "output_scale:=7.0"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert finished.returncode == 2
    assert "output_scale" in finished.stderr and "Traceback" not in finished.stderr


def test_a_model_in_an_unknown_home_is_named() -> None:
    with running_node(DOMAIN + 1, "-p", "model:=~nobody_here/x.onnx"), client(DOMAIN + 1, outputs=()) as camera:
        message = "cannot load the model: model ~nobody_here/x.onnx: the home folder is unknown; give an absolute path"
        camera.spin_until(lambda: camera.diagnostics and message in camera.diagnostics[-1]["message"], message)


def test_a_destroyed_node_leaves_neither_thread_nor_log_handler() -> None:
    script = (
        "import logging, threading, time, rclpy\n"
        "from mdflow_ros.node.lifecycle_node import FlowNode\n"
        "rclpy.init(args=['--ros-args', '-p', 'autostart:=false'])\n"
        "for _ in range(2):\n"
        "    FlowNode().destroy_node()\n"
        "time.sleep(0.5)\n"
        "print(logging.getLogger('mdflow_ros').handlers, [t.name for t in threading.enumerate() if t.name == 'flow'])"
    )
    environment = {**os.environ, **ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN + 1)}
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert finished.stdout.strip() == "[] []", finished.stderr
