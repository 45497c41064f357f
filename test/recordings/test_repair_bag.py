# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import errno
import itertools
import os
from pathlib import Path

import pytest
from bag_files import INTERVAL, START, image_message, panning_images, write_ros1, write_ros2
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mdflow_ros.commands.repair_bag import main
from mdflow_ros.recordings.bag_parts import BagPart, find_parts
from mdflow_ros.recordings.writer import STORAGES, BagWriter

STORE = get_typestore(Stores.ROS2_HUMBLE)
IMAGE = "sensor_msgs/msg/Image"
FOREVER = QosTime(9223372036, 854775807)
CHATTER = ("/chatter", "std_msgs/msg/String", STORE.types["std_msgs/msg/String"]("hello"))


def read(folder):
    with Reader(folder) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_a_truncated_bag_becomes_whole(tmp_path, storage, compression, capsys):
    images = panning_images(40)
    bag = write_ros2(tmp_path / "drive", images, storage=storage, compression=compression, more=[CHATTER])
    file = next(path for path in bag.iterdir() if path.name != "metadata.yaml")
    damaged = file.read_bytes()[: round(0.7 * file.stat().st_size)]
    file.write_bytes(damaged)
    assert main([str(bag), "--out", str(tmp_path / "repaired")]) == 0
    assert "damaged" in capsys.readouterr().out
    assert file.read_bytes() == damaged
    chatter, *frames = read(tmp_path / "repaired")
    assert chatter[0] == "/chatter"
    assert 24 <= len(frames) < 40
    for number, (_, time, data) in enumerate(frames):
        assert time == START + number * INTERVAL
        assert data == bytes(STORE.serialize_cdr(image_message(STORE, time, images[number]), IMAGE))


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_repaired_topic_keeps_the_qos_that_was_offered(tmp_path, storage, damaged):
    """Players offer /tf_static as it was recorded; without that, nobody who comes later receives it."""
    offered = Qos(
        *(QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, FOREVER, FOREVER),
        *(QosLiveliness.AUTOMATIC, FOREVER, False),
    )
    writer = BagWriter(tmp_path / "drive", storage)
    writer.add_topic("/tf_static", CHATTER[1], [offered])
    for number in range(200):
        writer.write("/tf_static", START + number * INTERVAL, bytes(STORE.serialize_cdr(CHATTER[2], CHATTER[1])))
    writer.close()
    file = next(path for path in (tmp_path / "drive").iterdir() if path.name != "metadata.yaml")
    if damaged:
        file.write_bytes(file.read_bytes()[:-500])
    assert main([str(tmp_path / "drive"), "--out", str(tmp_path / "repaired"), "--storage", storage]) == 0
    with Reader(tmp_path / "repaired") as reader:
        assert reader.connections[0].ext.offered_qos_profiles == [offered]


def test_messages_of_one_time_are_read_once_each(tmp_path, monkeypatch):
    """The reader fails between two messages that were recorded at the same time."""
    bag = write_ros2(tmp_path / "drive", panning_images(3))
    with Writer(tmp_path / "equal", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = [writer.add_connection(name, IMAGE, typestore=STORE) for name in ("/left", "/right")]
        for _, time, data in read(bag):
            for topic in topics:
                writer.write(topic, time, data)
    part = BagPart(find_parts(tmp_path / "equal", [])[0])
    read_messages = Reader.messages

    def fail_after_three(self, connections):
        yield from itertools.islice(read_messages(self, connections), 3)
        raise ValueError("damaged")

    monkeypatch.setattr(Reader, "messages", fail_after_three)
    messages = [(message.topic, message.time) for message in part.messages(None, [])]
    assert len(messages) == len(set(messages)) == 6


def test_what_cannot_be_repaired(tmp_path, capsys):
    write_ros1(tmp_path / "old.bag", panning_images(2))
    (tmp_path / "noise.mcap").write_bytes(bytes(1000))
    for name in ("old.bag", "noise.mcap", "nowhere"):
        assert main([str(tmp_path / name), "--out", str(tmp_path / "repaired")]) == 1
    assert not (tmp_path / "repaired").exists()
    printed = capsys.readouterr().err
    assert "rosbag reindex" in printed
    assert "nothing of" in printed
    assert "nowhere does not exist" in printed


def test_a_repair_that_fails_leaves_nothing(tmp_path, capsys, monkeypatch):
    bag = write_ros2(tmp_path / "drive", panning_images(4))
    assert main([str(bag), "--out", str(bag / "repaired")]) == 1
    assert "choose another --out" in capsys.readouterr().err
    monkeypatch.setattr("mdflow_ros.recordings.writer.BagWriter.close", raise_disk_full)
    assert main([str(bag), "--out", str(tmp_path / "repaired")]) == 1
    assert "disk is full" in capsys.readouterr().err
    assert not (tmp_path / "repaired").exists()


def raise_disk_full(_):
    raise OSError("the disk is full")


def test_a_full_disk_is_named_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mdflow_ros.commands.repair_bag.repair_aside", fail)
    assert main([str(tmp_path / "drive.mcap"), "--out", str(tmp_path / "repaired")]) == 1
    assert f"error: cannot write {tmp_path / 'repaired'}: [Errno 28] No space left" in capsys.readouterr().err
