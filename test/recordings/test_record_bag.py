# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder as its users run it: a separate process, beside a camera in another one."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from unittest.mock import Mock

import pytest
import yaml
from rosbags.highlevel import AnyReader

from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.settings.frames import FrameSettings

pytest.importorskip("rclpy")

import rclpy
from camera_process import CHATTER, JPEG, RAW
from places import ROOT
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mdflow_ros.commands import record_bag, repair_bag
from mdflow_ros.node.camera_info import camera_info_topic
from mdflow_ros.recordings import recording
from mdflow_ros.recordings.topic_recorder import TopicCount, TopicError, TopicRecorder

REPOSITORY = ROOT
ENVIRONMENT = {
    **os.environ,
    "ROS_DOMAIN_ID": "63",
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "OMP_NUM_THREADS": "1",
}
INFO = camera_info_topic(RAW)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """The log of a camera that publishes for as long as the tests of this file last."""
    log = tmp_path_factory.mktemp("camera") / "sent.txt"
    with subprocess.Popen(
        [sys.executable, REPOSITORY / "test" / "support" / "camera_process.py", log], env=ENVIRONMENT
    ) as process:
        yield log
        process.terminate()


def start(folder, *arguments):
    command = [sys.executable, REPOSITORY / "training" / "record_bag.py", "--out", folder / "drive", *arguments]
    return subprocess.Popen(
        [str(argument) for argument in command],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def record(folder, *arguments):
    """Record to the end; returns (exit status, what it printed)."""
    process = start(folder, *arguments)
    printed = process.communicate(timeout=60)[0]
    return process.returncode, printed


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the recording does not grow"
        time.sleep(0.05)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("drive_*.*"))


def read(folder):
    """{topic: [serialized message]} as any reader finds them."""
    messages = defaultdict(list)
    with AnyReader([folder]) as reader:
        for connection, _, data in reader.messages():
            messages[connection.topic].append(bytes(data))
    return messages


def sent_by(camera):
    sent = defaultdict(list)
    for line in camera.read_text().splitlines()[:-1]:
        topic, message = line.split("\t")
        sent[topic].append(bytes.fromhex(message))
    return sent


def assert_unbroken_part_of(recorded, sent, message_type):
    """Nothing is missing between the first and the last. Compared by value: CDR's padding bytes are arbitrary."""
    stamps = [message[4:12] for message in sent]
    first = stamps.index(recorded[0][4:12])
    for ours, theirs in zip(recorded, sent[first:], strict=False):
        same = deserialize_message(ours, message_type) == deserialize_message(theirs, message_type)
        assert same  # pytest would print megabytes
    assert len(sent) >= first + len(recorded)


def test_records_every_byte_with_camera_info_and_splits(camera, tmp_path):
    status, printed = record(tmp_path, "--topics", RAW, "--duration", "3", "--split-size", "1")
    assert status == 0, printed
    bag = tmp_path / "drive"
    messages, sent = read(bag), sent_by(camera)
    assert set(messages) == {RAW, INFO}
    assert len(messages[RAW]) > 75
    assert_unbroken_part_of(messages[RAW], sent[RAW], Image)
    assert_unbroken_part_of(messages[INFO], sent[INFO], CameraInfo)
    assert f"{RAW}: {len(messages[RAW])} messages" in printed
    has_numbers = hasattr(Subscription, "CallbackType")  # Humble's callbacks do not get a message's number
    assert f"dropped {0 if has_numbers else 'unknown'}" in printed

    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    parts = sorted(path.name for path in bag.glob("*.mcap"))
    assert len(parts) > 2
    assert sorted(information["relative_file_paths"]) == parts
    assert sorted(path.name for path in bag.iterdir()) == [*parts, "metadata.yaml"]
    counts = {
        entry["topic_metadata"]["name"]: entry["message_count"] for entry in information["topics_with_message_count"]
    }
    assert counts == {topic: len(messages[topic]) for topic in messages}
    assert information["message_count"] == sum(counts.values()) == sum(f["message_count"] for f in information["files"])
    assert 2e9 < information["duration"]["nanoseconds"] < 4e9

    summary = prepare_pairs([str(bag)], tmp_path / "cache", FrameSettings()).summary
    assert summary.verdicts["kept"] == len(messages[RAW])
    assert summary.warnings == []


@pytest.mark.parametrize("storage, stop", [("sqlite3", signal.SIGINT), ("mcap", signal.SIGTERM)])
def test_signals_end_it_properly(camera, tmp_path, storage, stop):
    process = start(tmp_path, "--topics", RAW, JPEG, "--storage", storage)
    wait_until(lambda: size_of(tmp_path) > 2_000_000)
    process.send_signal(stop)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == 0, printed
    assert f"stopped: {stop.name}" in printed
    messages, sent = read(tmp_path / "drive"), sent_by(camera)
    assert set(messages) == {RAW, JPEG, INFO}
    assert_unbroken_part_of(messages[RAW], sent[RAW], Image)
    assert_unbroken_part_of(messages[JPEG], sent[JPEG], CompressedImage)


def stop_in_a_transaction(process, bag):
    """Stop a process while SQLite keeps a journal: between two transactions, its file is complete."""

    def is_in_a_transaction():
        process.send_signal(signal.SIGSTOP)
        found = any(bag.rglob("*-journal"))
        if not found:
            process.send_signal(signal.SIGCONT)
        return found

    wait_until(is_in_a_transaction)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_kill_9_costs_the_last_second(camera, tmp_path, storage):
    process = start(tmp_path, "--topics", RAW, "--storage", storage, "--split-size", "4")
    wait_until((tmp_path / "drive" / "drive_1").exists)  # the second part, which takes 2 s
    time.sleep(1.5)
    bag = tmp_path / "drive"
    if storage == "sqlite3":
        stop_in_a_transaction(process, bag)
    written = size_of(tmp_path)
    process.kill()
    process.communicate()
    complete = read(bag)[RAW]  # ros2 bag would read these at once
    assert len(complete) >= 60
    summary = prepare_pairs([str(bag)], tmp_path / "cache", FrameSettings()).summary
    assert len(complete[0]) * (summary.verdicts["kept"] + 75) > written  # a second, and how late it may come here
    assert summary.verdicts["kept"] > len(complete)
    assert "never closed" in summary.warnings[0]
    assert repair_bag.main([str(bag), "--out", str(tmp_path / "repaired")]) == 0
    assert len(read(tmp_path / "repaired")[RAW]) == summary.verdicts["kept"]


def test_a_topic_that_nobody_publishes(camera, tmp_path):
    status, printed = record(tmp_path, "--topics", "/nope", "--wait", "5")
    assert status == 1
    assert f"nobody publishes /nope. Image topics now: {RAW} (sensor_msgs/msg/Image), {JPEG}" in printed
    assert not (tmp_path / "drive").exists()


@pytest.mark.parametrize("name", ["bad topic", "/camera/"])
def test_a_name_that_no_topic_can_have(tmp_path, name):
    status, printed = record(tmp_path, "--topics", name)
    assert status == 1
    assert f"no topic can be called '{name}'" in printed and "Traceback" not in printed


def test_records_topics_of_any_type(camera, tmp_path):
    status, printed = record(tmp_path, "--topics", CHATTER, "--duration", "1")
    assert status == 0, printed
    assert set(messages := read(tmp_path / "drive")) == {CHATTER}
    assert len(messages[CHATTER]) > 20


class Publisher:
    """A camera driver of this process, on a topic of its own."""

    TOPIC = "/restarted/image_raw"

    def __init__(self, reliability, message_type=Image, topic=TOPIC):
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=int(ENVIRONMENT["ROS_DOMAIN_ID"]))
        self._node = rclpy.create_node("driver", context=self._context)
        self._out = self._node.create_publisher(message_type, topic, QoSProfile(depth=5, reliability=reliability))
        self._message = message_type()

    def wait_for_recorder(self):
        """Wait until the recorder listens, and until it has heard of this camera in turn."""
        deadline = time.monotonic() + 20
        while not self._out.get_subscription_count():
            assert time.monotonic() < deadline, "the recorder does not subscribe"
            time.sleep(0.05)
        time.sleep(0.5)

    def run(self, seconds):
        """Publish at 20 Hz; returns how many messages were sent."""
        count = round(20 * seconds)
        for _ in range(count):
            self._out.publish(self._message)
            time.sleep(0.05)
        return count

    def close(self):
        self._node.destroy_node()
        self._context.shutdown()


@pytest.fixture
def domain(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.mark.parametrize(
    "order",
    [
        (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT),
        (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE),
    ],
    ids=["reliable first", "best effort first"],
)
def test_a_camera_that_comes_back_with_another_qos_is_recorded(domain, tmp_path, order):
    recorder = start(tmp_path, "--topics", Publisher.TOPIC)
    for reliability in order:
        restart = time.time_ns()
        driver = Publisher(reliability)
        driver.wait_for_recorder()
        driver.run(3.0)
        driver.close()
    recorder.send_signal(signal.SIGINT)
    recorder.communicate(timeout=30)
    with AnyReader([tmp_path / "drive"]) as reader:
        times = [time for _, time, _ in reader.messages()]
    after = sum(time > restart for time in times)
    assert len(times) - after >= 40 and after >= 40


def test_a_publisher_that_vanishes_is_no_success(domain, tmp_path):
    recorder = start(tmp_path, "--topics", Publisher.TOPIC, "--duration", "6")
    driver = Publisher(ReliabilityPolicy.RELIABLE)
    driver.wait_for_recorder()
    driver.run(1.0)
    driver.close()
    printed = recorder.communicate(timeout=30)[0]
    assert recorder.returncode == 1
    assert "did the camera stop?" in printed


def test_two_types_of_one_topic_are_named(domain, tmp_path):
    drivers = [Publisher(ReliabilityPolicy.RELIABLE, kind, "/twice") for kind in (Image, CompressedImage)]
    status, printed = record(tmp_path, "--topics", "/twice")
    for driver in drivers:
        driver.close()
    assert status == 1
    assert "sensor_msgs/msg/CompressedImage, sensor_msgs/msg/Image" in printed


def test_a_second_type_that_appears_later_is_named(domain, tmp_path):
    recorder = start(tmp_path, "--topics", "/twice_later", "--wait", "20")
    first = Publisher(ReliabilityPolicy.RELIABLE, Image, "/twice_later")
    first.wait_for_recorder()
    second = Publisher(ReliabilityPolicy.RELIABLE, CompressedImage, "/twice_later")
    printed = recorder.communicate(timeout=30)[0]
    for driver in (first, second):
        driver.close()
    assert recorder.returncode == 1
    assert "several types at once, sensor_msgs/msg/CompressedImage, sensor_msgs/msg/Image" in printed


def test_never_overwrites(tmp_path):
    (tmp_path / "drive").mkdir()
    status, printed = record(tmp_path, "--topics", RAW)
    assert status == 1
    assert "exists already" in printed


def test_stops_at_the_disk_reserve(camera, tmp_path, monkeypatch, capsys):
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    free = iter([5e9, 5e9, 5e9, 5e9])
    monkeypatch.setattr(record_bag, "StopSignal", lambda stop: None)  # pytest keeps its own handlers
    monkeypatch.setattr(recording, "free_bytes", lambda path: next(free, 1e9))
    bag = tmp_path / "drive"
    assert record_bag.main(["--topics", RAW, "--out", str(bag), "--duration", "30"]) == 1
    assert "only 1.00 GB of disk space is left, less than --disk-reserve (2 GB)" in capsys.readouterr().out
    assert len(read(bag)[RAW]) > 0


def test_dropped_messages_are_counted_for_each_publisher():
    count = TopicCount()
    for publisher, number in [(b"a", 7), (b"a", 8), (b"b", 1), (b"a", 11), (b"b", 2), (b"b", 4)]:
        count.note(10, {"publication_sequence_number": number, "publisher_gid": {"data": publisher}})
    assert (count.received, count.size, count.dropped) == (6, 60, 3)
    late = TopicCount()
    for number in (1, 3, 2, 4):
        late.note(10, {"publication_sequence_number": number})
    assert late.dropped == 0, "a message that was overtaken is not lost"
    unnumbered = TopicCount()
    unnumbered.note(10, {"publication_sequence_number": None, "publisher_gid": None})
    unnumbered.note(10, {"publication_sequence_number": 2**64 - 1})
    unnumbered.note(10, {})
    assert unnumbered.dropped is None


def test_a_publisher_that_vanishes_before_the_recording_begins_is_named():
    node = Mock()
    node.get_publishers_info_by_topic.return_value = []
    node.get_topic_names_and_types.return_value = []
    with pytest.raises(TopicError, match="nobody publishes /camera/image_raw"):
        TopicRecorder(node, Mock(), Mock()).record("/camera/image_raw")


def test_camera_info_lies_beside_the_image():
    assert camera_info_topic("/camera/image_raw") == "/camera/camera_info"
    assert camera_info_topic("/camera/image_raw/compressed") == "/camera/camera_info"
    assert camera_info_topic("/image") == "/camera_info"
