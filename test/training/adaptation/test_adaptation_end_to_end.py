# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera to a better model in the running node; each step is a separate process, as a user starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")
pytest.importorskip("torch", reason="training needs torch")

from model_files import broken_model, disturbed_teacher
from node_harness import ENVIRONMENT, Client, client, running_node
from process_helpers import PATIENCE, kill_once_there, run, running
from shifted_images import textured_image

from mdflow_ros.deployment.store import ModelStore
from mdflow_ros.model.card import load_card
from mdflow_training.engine.checkpoint import load_state

DOMAIN = 28
HERE = {**ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)}
HEIGHT, WIDTH, FRAMES, STEP = 128, 192, 80, 4
STEPS = 12
SETTINGS = (
    "rounds=0",
    "control=false",
    f"stage1.optimization.steps={STEPS}",
    "stage1.optimization.batch_size=2",
    "frames.held_out_share=0.3",
    "execution.checkpoint_every=1",
    "execution.log_every=1",
)


@dataclass(frozen=True)
class Adaptation:
    """An adaptation that was killed and started again.

    Attributes:
        command: the module that makes it and its arguments.
        out: its folder.
        before: the model that it began with.
        steps_saved: number of steps of stage 1 that had been saved when it was killed.
        status: with which it ended when it was started again.
        printed: what it printed then.
    """

    command: list[object]
    out: Path
    before: Path
    steps_saved: int
    status: int
    printed: str


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture that moves by `STEP` pixels to the left from frame to frame."""
    folder = tmp_path_factory.mktemp("frames")
    scene = textured_image(HEIGHT, WIDTH + STEP * FRAMES)
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:03d}.png"), scene[:, STEP * number : STEP * number + WIDTH])
    return folder


@contextmanager
def playing(frames: Path, rate: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Publish the frames on /image as soon as there is a subscriber, without losing any."""
    options = ["--rate", str(rate), "--reliability", "reliable", "--wait-for-subscribers", "1", *arguments]
    ros = ["--ros-args", "-r", "camera/image_raw:=image"]
    with running(HERE, "mdflow_ros.demo.camera_player", frames, *options, *ros) as player:
        yield player


@pytest.fixture(scope="module")
def bag(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "drive"
    with running(
        HERE, "mdflow_ros.commands.record_bag", "--topics", "/image", "--out", path, "--wait", "60"
    ) as recorder:
        with playing(frames, 20) as player:
            assert player.wait(PATIENCE) == 0
        recorder.send_signal(signal.SIGINT)
        printed = recorder.communicate(timeout=PATIENCE)[0]
    assert recorder.returncode == 0 and f"/image: {FRAMES} messages" in printed, printed
    return path


@pytest.fixture(scope="module")
def adaptation(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Adaptation:
    folder = tmp_path_factory.mktemp("adaptation")
    before, out = disturbed_teacher(folder, 0.5), folder / "run"
    command: list[object] = ["mdflow_training.commands.adapt_from_bag", bag, "--out", out, "--model", before]
    command += [argument for setting in SETTINGS for argument in ("--set", setting)]
    checkpoint = out / "stage1" / "checkpoint.pt"
    with running(HERE, *command) as process:
        kill_once_there(process, checkpoint, 0.1)
    steps_saved = load_state(checkpoint)["step"]
    status, printed = run(HERE, *command)
    return Adaptation(command, out, before, steps_saved, status, printed)


def test_a_killed_adaptation_goes_on_to_its_report(adaptation: Adaptation) -> None:
    assert adaptation.status == 0, adaptation.printed
    assert 0 < adaptation.steps_saved < STEPS, "it was killed in the middle of the stage"
    first_step_of_bar = re.search(r"stage1:.* (\d+)/\d+ ", adaptation.printed)
    assert first_step_of_bar is not None and int(first_step_of_bar[1]) == 2 * adaptation.steps_saved
    lines = (adaptation.out / "stage1" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))

    report = json.loads((adaptation.out / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["verdict"] == "improved" and len(report["pairs"]) == report["images"]["held_out_pairs"] == 10
    assert report["means"]["after"]["match_error"] < 0.95 * report["means"]["before"]["match_error"]
    assert report["models"]["before"]["sha256"] == load_card(adaptation.before).sha256
    assert report["models"]["after"]["sha256"] == load_card(adaptation.out / "teacher.onnx").sha256
    page = (adaptation.out / "report.html").read_text()
    assert report["reason"].split("(")[0] in page and page.count("data:image/png;base64,") == 3 * 5 + 1


def test_an_improved_model_reaches_the_running_node_between_two_frames(
    adaptation: Adaptation, frames: Path, tmp_path: Path
) -> None:
    store, model = ModelStore(tmp_path / "store"), adaptation.out / "teacher.onnx"
    at_store = ("--store", store.folder)
    # A long gap is no reset here, so that whatever resets the pairs is the swap.
    arguments = ("-p", f"model:={adaptation.before}", "-p", "max_frame_gap:=60.0", "-p", "threads:=1")
    with running_node(DOMAIN, *arguments), client(DOMAIN) as consumer, playing(frames, 10, "--loop") as player:
        wait_for_flow(consumer)
        assert sha256_in_use(consumer) == load_card(adaptation.before).sha256

        status, printed = run_while_flowing(consumer, *adaptation.command, "--deploy", *at_store)
        assert status == 0 and f"is the current model of {store.folder}" in printed, printed
        assert sha256_in_use(consumer) == load_card(model).sha256

        status, printed = run_while_flowing(
            consumer, "mdflow_ros.commands.deploy_model", broken_model(tmp_path), *at_store
        )
        assert status == 1 and "holds no FastFlowNet parameters" in printed, printed
        assert sha256_in_use(consumer) == load_card(model).sha256
        assert [store.version(name).card() for name in store.names()] == [load_card(model)]

        wait_for_flow(consumer)
        player.send_signal(signal.SIGTERM)
        published = re.search(r"(\d+) frames published", player.communicate(timeout=PATIENCE)[0])
        assert published is not None
        assert_every_frame_accounted_for(consumer, int(published[1]))
        assert_no_gap_in_pairs(consumer)


def wait_for_flow(consumer: Client, count: int = 5) -> None:
    wanted = len(consumer.received["flow"]) + count
    consumer.spin_until(lambda: len(consumer.received["flow"]) >= wanted, "flow")


def run_while_flowing(consumer: Client, module: str, *arguments: object) -> tuple[int, str]:
    """Run a module while frames are published; the flow must not stop."""
    before = len(consumer.received["flow"])
    with running(HERE, module, *arguments) as process:
        consumer.spin_until(lambda: process.poll() is not None, module, PATIENCE)
        printed = process.communicate()[0]
    assert len(consumer.received["flow"]) > before
    wait_for_flow(consumer)
    return process.returncode, printed


def sha256_in_use(consumer: Client) -> str:
    return consumer.latest_diagnostics()["model_sha256"]


def assert_every_frame_accounted_for(consumer: Client, published: int) -> None:
    """Every frame gave flow, was replaced by a newer one, or was the first."""

    def processed() -> int:
        counts = consumer.diagnostics[-1]
        return sum(int(counts[name]) for name in ("pairs_published", "frames_dropped", "resets"))

    consumer.spin_until(lambda: processed() == published, f"{published} frames to be accounted for")
    counts = consumer.latest_diagnostics()
    assert int(counts["frames_received"]) == processed() == published
    assert (counts["resets"], counts["resets.first_frame"]) == ("1", "1")
    assert (counts["frames_corrupt"], counts["frames_unsupported"]) == ("0", "0")
    assert len(consumer.received["flow"]) == int(counts["pairs_published"])


def assert_no_gap_in_pairs(consumer: Client) -> None:
    """Each pair starts with the last frame of the previous pair."""
    ends = [message.header.stamp for message in consumer.received["flow"]]
    starts = [message.time_ref for message in consumer.received["previous_stamp"]]
    assert starts[1:] == ends[:-1]
