# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml
from bag_files import INTERVAL, START, image_message, panning_images, regular_stamps
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from mdflow_ros.recordings.source import parse_source
from mdflow_ros.recordings.writer import STORAGES, BagWriter

TOPIC, IMAGE = "/camera/image_raw", "sensor_msgs/msg/Image"


def serialized(count):
    store = get_typestore(Stores.LATEST)
    messages = zip(regular_stamps(count), panning_images(count), strict=True)
    return [bytes(store.serialize_cdr(image_message(store, stamp, image), IMAGE)) for stamp, image in messages]


def write(writer, messages, topic=TOPIC):
    for number, message in enumerate(messages):
        writer.write(topic, START + number * INTERVAL, message)


def read(folder):
    with Reader(folder) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


@pytest.mark.parametrize("storage", STORAGES)
def test_reads_back_byte_for_byte_in_parts(tmp_path, storage):
    messages = serialized(20)
    writer = BagWriter(tmp_path / "drive", storage, part_size=6 * len(messages[0]))
    writer.add_topic(TOPIC, IMAGE)
    writer.add_topic("/idle", IMAGE)
    write(writer, messages)
    writer.close()
    assert read(tmp_path / "drive") == [(TOPIC, START + n * INTERVAL, message) for n, message in enumerate(messages)]
    information = yaml.safe_load((tmp_path / "drive" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert [part["message_count"] for part in information["files"]] == [6, 6, 6, 2]
    assert [topic["message_count"] for topic in information["topics_with_message_count"]] == [20, 0]
    assert information["starting_time"]["nanoseconds_since_epoch"] == START
    assert information["duration"]["nanoseconds"] == 19 * INTERVAL


@pytest.mark.parametrize("storage", STORAGES)
def test_what_was_flushed_survives(tmp_path, storage):
    messages = serialized(8)
    writer = BagWriter(tmp_path / "drive", storage, part_size=5 * len(messages[0]))
    writer.add_topic(TOPIC, IMAGE)
    write(writer, messages)
    writer.flush()
    assert len(read(tmp_path / "drive")) == 5  # the finished part
    warnings = []
    frames = parse_source(str(tmp_path / "drive")).frames(warnings)
    assert [frame.stamp for _, frame in frames] == regular_stamps(8)
    writer.close()
    assert len(read(tmp_path / "drive")) == 8


@pytest.mark.parametrize("storage", STORAGES)
def test_frames_stay_in_order_where_the_clock_was_set_back(tmp_path, storage):
    store = get_typestore(Stores.LATEST)
    writer = BagWriter(tmp_path / "drive", storage)
    writer.add_topic(TOPIC, IMAGE)
    images, expected = panning_images(120), []
    for number, image in enumerate(images):
        expected.append(START + number * INTERVAL - (3 * 10**9 if number >= 60 else 0))
        writer.write(TOPIC, expected[-1], bytes(store.serialize_cdr(image_message(store, expected[-1], image), IMAGE)))
    writer.close()
    warnings = []
    frames = [frame for _, frame in parse_source(str(tmp_path / "drive")).frames(warnings)]
    assert [frame.stamp for frame in frames] == expected
    assert (frames[100].decode() == images[100]).all()
    assert len(warnings) == 1 and "the clock was set back by 2.97 s during the recording" in warnings[0]


def test_topics_one_after_the_other_are_no_clock_set_back(tmp_path):
    writer = BagWriter(tmp_path / "drive")
    for topic in (TOPIC, "/other/image_raw"):
        writer.add_topic(topic, IMAGE)
        write(writer, serialized(120), topic)
    writer.close()
    warnings = []
    frames = parse_source(f"{tmp_path / 'drive'}#{TOPIC}").frames(warnings)
    assert [frame.stamp for _, frame in frames] == regular_stamps(120) and not warnings


def test_no_message_no_bag(tmp_path):
    writer = BagWriter(tmp_path / "drive")
    writer.add_topic(TOPIC, IMAGE)
    writer.flush()
    writer.close()
    assert not (tmp_path / "drive").exists()


def test_never_overwrites(tmp_path):
    with pytest.raises(FileExistsError, match="never overwritten"):
        BagWriter(tmp_path)


def test_a_full_disk_is_an_error_of_the_disk(tmp_path):
    writer = BagWriter(tmp_path / "drive", "sqlite3")
    writer.add_topic(TOPIC, IMAGE)
    messages = serialized(30)
    write(writer, messages[:1])
    writer._writer.storage.conn.execute("PRAGMA max_page_count=100")
    with pytest.raises(OSError, match="full"):
        write(writer, messages)
    writer.close()
    assert not (tmp_path / "drive" / "metadata.yaml").exists(), "the part is not complete"
    assert (tmp_path / "drive" / "drive_0" / "drive_0.db3").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_recording(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="file is not a folder"):
        BagWriter(tmp_path / "file" / "drive")
