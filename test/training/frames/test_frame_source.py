# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import os
import re
import shlex
import shutil
import sqlite3

import cv2
import numpy as np
import pytest
from bag_files import (
    INTERVAL,
    SECOND,
    START,
    image_message,
    panning_images,
    regular_stamps,
    write_ros1,
    write_ros2,
)
from places import SHARED
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mdflow_ros.core.image_decoding import decode_compressed_image
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.source import parse_source
from mdflow_training.adaptation.outcome import split_held_out
from mdflow_training.commands.frame_source import main
from mdflow_training.frames import preparation
from mdflow_training.frames.filters import FrameFilter, FrameVerdict
from mdflow_training.frames.preparation import NotEnoughFrames, prepare_pairs
from mdflow_training.report.adapted_model import hash_recordings
from mdflow_training.settings.frames import FrameSettings


def read(name, warnings=None):
    """All frames of a source: [(stamp, image)]."""
    frames = parse_source(str(name)).frames([] if warnings is None else warnings)
    return [(frame.stamp, frame.decode()) for _, frame in frames]


def assert_same(frames, images, stamps):
    assert [stamp for stamp, _ in frames] == list(stamps)
    for (_, image), expected in zip(frames, images, strict=True):
        np.testing.assert_array_equal(image, expected)


def prepare(tmp_path, *sources, **settings):
    return prepare_pairs([str(source) for source in sources], tmp_path / "cache", FrameSettings(**settings))


def file_of(bag):
    return next(path for path in bag.iterdir() if path.name != "metadata.yaml")


# ---------------------------------------------------------------- reading


ROS2_KINDS = [(storage, compression) for storage in StoragePlugin for compression in CompressionMode]
ROS2_KINDS.remove((StoragePlugin.SQLITE3, CompressionMode.STORAGE))  # SQLite has no compression of its own


@pytest.mark.parametrize("storage, compression", ROS2_KINDS)
def test_reads_every_kind_of_ros2_bag(tmp_path, storage, compression):
    images = panning_images(5)
    bag = write_ros2(tmp_path / "bag", images, storage=storage, compression=compression)
    warnings = []
    assert_same(read(bag, warnings), images, regular_stamps(5))
    assert_same(read(f"bag:{bag}#/camera/image_raw", warnings), images, regular_stamps(5))
    assert warnings == []


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
def test_reads_every_kind_of_ros1_bag(tmp_path, compression):
    images = panning_images(5)
    bag = write_ros1(tmp_path / "robot.bag", images, compression=compression)
    assert_same(read(bag), images, regular_stamps(5))


@pytest.mark.parametrize("write", [write_ros1, write_ros2])
def test_reads_compressed_images(tmp_path, write):
    images = panning_images(3)
    assert_same(read(write(tmp_path / "png.bag", images, encoding="png")), images, regular_stamps(3))
    jpeg = read(write(tmp_path / "jpeg.bag", images, encoding="jpeg"))
    assert np.abs(jpeg[0][1].astype(int) - images[0]).mean() < 8  # a swap of red and blue makes about 30


def test_one_part_without_metadata_still_knows_its_message_compression(tmp_path):
    images = panning_images(3)
    bag = write_ros2(tmp_path / "bag", images, compression=CompressionMode.MESSAGE)
    assert_same(read(file_of(bag)), images, regular_stamps(3))


def split_bag(tmp_path, count=11):
    """A bag in `count` parts of 2 frames, as `ros2 bag record --max-bag-size` writes it."""
    images = panning_images(2 * count)
    bag = tmp_path / "drive"
    bag.mkdir()
    for part in range(count):
        stamps = regular_stamps(2, START + 2 * part * INTERVAL)
        written = write_ros2(tmp_path / f"part{part}", images[2 * part : 2 * part + 2], stamps)
        file_of(written).rename(bag / f"drive_{part}.mcap")
    return bag, images


def test_reads_split_bags_in_order(tmp_path):
    bag, images = split_bag(tmp_path)
    assert_same(read(bag), images, regular_stamps(22))
    assert_same(read(f"{bag}/drive_*.mcap"), images, regular_stamps(22))
    (bag / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  relative_file_paths: [drive_1.mcap, drive_0.mcap, drive_99.mcap]\n"
    )
    warnings = []
    names = [path.name for path in parse_source(str(bag)).files()]
    assert names == [f"drive_{number}.mcap" for number in (1, 0, *range(2, 11))]  # what it does not know follows
    assert [stamp for stamp, _ in read(bag, warnings)] == regular_stamps(22)
    assert ["drive_99.mcap" in warning for warning in warnings if "metadata" in warning] == [True]


def test_several_bags_are_put_in_order_of_time_and_chained(tmp_path):
    bag, _ = split_bag(tmp_path, 6)
    prepared = prepare(tmp_path, *sorted(bag.iterdir(), reverse=True))
    assert prepared.summary.sequences == 1
    assert prepared.summary.verdicts == {"kept": 12}


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("kind", ["mcap", "db3", "bag"])
@pytest.mark.parametrize("share", [0.99, 0.5])
def test_truncated_bags_give_what_is_left(tmp_path, kind, share):
    images = panning_images(60, step=1)
    if kind == "bag":
        file = write_ros1(tmp_path / "whole.bag", images)
    else:
        storage = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
        file = file_of(write_ros2(tmp_path / "whole", images, storage=storage))
    content = file.read_bytes()
    damaged = tmp_path / f"damaged.{kind}"
    damaged.write_bytes(content[: int(share * len(content))])
    warnings = []
    frames = read(damaged, warnings)
    assert (share - 0.05) * 60 <= len(frames) <= 60
    assert_same(frames, images[: len(frames)], regular_stamps(len(frames)))
    assert len(warnings) == 1
    assert f"{len(frames)} messages" in warnings[0]


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_a_damaged_chunk_costs_no_more_than_itself(tmp_path, kind):
    images = [panning_images(1, seed=n)[0] for n in range(120)]
    if kind == "mcap":
        file = file_of(write_ros2(tmp_path / "whole", images, compression=CompressionMode.STORAGE))
    else:
        file = write_ros1(tmp_path / "whole.bag", images, compression=Ros1Writer.CompressionFormat.BZ2)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    file.write_bytes(content)
    warnings = []
    frames = read(file, warnings)
    assert 60 < len(frames) < 120  # a chunk holds 29
    assert frames[-1][0] == regular_stamps(120)[-1]
    assert len(warnings) == 1


def test_a_damaged_message_is_counted(tmp_path):
    bag = write_ros2(tmp_path / "bag", panning_images(12), storage=StoragePlugin.SQLITE3, encoding="png")
    file = file_of(bag)
    content = file.read_bytes()
    begin = content.index(b"\x89PNG")
    file.write_bytes(content[:begin] + b"\x00" * 8 + content[begin + 8 :])
    prepared = prepare(tmp_path, bag)
    assert prepared.summary.verdicts == {"undecodable": 1, "kept": 11}
    assert any("no picture" in loss for loss in prepared.summary.warnings)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_sqlite_of_a_killed_recording(tmp_path, journal):
    bag = write_ros2(tmp_path / "bag", panning_images(10), storage=StoragePlugin.SQLITE3)
    database = sqlite3.connect(file_of(bag))
    database.execute(f"PRAGMA journal_mode={journal}")
    database.execute("PRAGMA cache_size=1")  # as little memory as possible: the file changes before the commit
    database.execute("BEGIN")
    if journal == "WAL":
        database.execute("DELETE FROM messages WHERE id > 8")
        database.execute("COMMIT")
    else:
        database.execute("DELETE FROM messages")
    killed = tmp_path / "killed"
    shutil.copytree(bag, killed)
    database.close()
    before = {path: path.read_bytes() for path in killed.iterdir()}
    warnings = []
    assert len(read(killed, warnings)) == (8 if journal == "WAL" else 10)
    assert "killed" in warnings[0]
    assert {path: path.read_bytes() for path in killed.iterdir()} == before


def test_headers_without_stamp_fall_back_to_the_time_of_recording(tmp_path):
    warnings = []
    frames = read(write_ros2(tmp_path / "bag", panning_images(3), [0, 0, 0]), warnings)
    assert [stamp for stamp, _ in frames] == regular_stamps(3)
    assert "no time stamp" in warnings[0]


def test_the_real_robots_bag():
    if not SHARED.is_dir():
        pytest.skip("needs ../shared")
    frames = read(SHARED / "bags" / "soccer_goal_12.mcap")
    assert [stamp for stamp, _ in frames] == [8_297_777_777, 8_331_088_888]
    assert frames[0][1].shape == (480, 640, 3)


# ---------------------------------------------------------------- topics


def test_unknown_topic_lists_those_there_are(tmp_path):
    bag = write_ros2(tmp_path / "bag", panning_images(2))
    with pytest.raises(FrameSourceError, match=r"/nope does not exist.*\n.*/camera/image_raw .*2 messages"):
        read(f"bag:{bag}#/nope")


def test_a_topic_without_images_and_a_bag_without_images(tmp_path):
    text = get_typestore(Stores.ROS2_HUMBLE).types["std_msgs/msg/String"]("hello")
    more = [("/chatter", "std_msgs/msg/String", text)]
    with pytest.raises(FrameSourceError, match=r"/chatter carries std_msgs/msg/String, not images"):
        read(f"{write_ros2(tmp_path / 'both', panning_images(2), more=more)}#/chatter")
    with pytest.raises(FrameSourceError, match=r"holds no images.*/chatter \(std_msgs/msg/String\)"):
        read(write_ros2(tmp_path / "none", [], more=more))


def test_the_only_camera_is_found_among_depth_and_copies(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    depth = image_message(store, START, np.zeros((4, 4, 2), np.uint8), "16UC1")
    copy = image_message(store, START, panning_images(1)[0], "jpeg")
    more = [
        ("/camera/depth", "sensor_msgs/msg/Image", depth),
        ("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", copy),
    ]
    bag = write_ros2(tmp_path / "bag", panning_images(2), more=more)
    assert len(read(bag)) == 2
    assert len(read(f"bag:{bag}#camera/image_raw/compressed")) == 1


@pytest.mark.parametrize(
    ("topic", "encoding", "channels"),
    [("/device_0/sensor_0/Depth_0/image/data", "mono16", 2), ("/segmentation/mask", "mono8", 1)],
)
def test_what_is_no_camera_by_its_name_is_left_out(tmp_path, topic, encoding, channels):
    """The RealSense SDK records depth as mono16."""
    other = image_message(get_typestore(Stores.ROS2_HUMBLE), START, np.zeros((4, 4 * channels), np.uint8), encoding)
    bag = write_ros2(tmp_path / "bag", panning_images(2), more=[(topic, "sensor_msgs/msg/Image", other)])
    assert len(read(bag)) == 2


def test_several_cameras_ask_for_a_choice(tmp_path):
    other = image_message(get_typestore(Stores.ROS2_HUMBLE), START, panning_images(1)[0])
    more = [("/left/image_raw", "sensor_msgs/msg/Image", other)]
    bag = write_ros2(tmp_path / "two cameras", panning_images(2), more=more)
    with pytest.raises(FrameSourceError, match="several image topics; choose one") as error:
        read(bag)
    (advised,) = re.findall(r"as in ('.*?')\. ", str(error.value))
    assert len(read(*shlex.split(advised))) == 2


@pytest.mark.parametrize("name", ["nowhere.mcap", "bag:nowhere", "images:nowhere", "nothing_*"])
def test_sources_that_do_not_exist(tmp_path, name):
    with pytest.raises(FrameSourceError, match="does not exist"):
        prepare(tmp_path, name)


@pytest.mark.parametrize("name", ["", "bag:", "#/camera/image_raw", "images:"])
def test_an_empty_name_does_not_stand_for_the_current_folder(name):
    with pytest.raises(FrameSourceError, match=f"'{name}' names no recording"):
        parse_source(name)


def test_files_that_are_no_recording(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FrameSourceError, match="neither a bag"):
        read(tmp_path / "notes.txt")
    with pytest.raises(FrameSourceError, match="is not a bag"):
        read(f"bag:{tmp_path / 'notes.txt'}")
    with pytest.raises(FrameSourceError, match="holds no bag"):
        read(f"bag:{tmp_path}")
    for name in ("noise.mcap", "noise.db3", "noise.bag", "noise.mcap.zstd"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 20)
        with pytest.raises(FrameSourceError, match="holds no images"):
            read(tmp_path / name)
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(FrameSourceError, match="no video"):
        read(tmp_path / "noise.mp4")


# ---------------------------------------------------------------- videos and folders


def write_images(folder, images, names):
    folder.mkdir()
    for image, name in zip(images, names, strict=True):
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


def test_folders_of_images(tmp_path):
    images, stamps = panning_images(11), regular_stamps(11)
    stamped = write_images(tmp_path / "stamped", images, [f"{stamp}.png" for stamp in stamps])
    assert_same(read(f"images:{stamped}"), images, stamps)
    seconds = write_images(tmp_path / "seconds", images, [f"{stamp / SECOND:.6f}.png" for stamp in stamps])
    assert [stamp for stamp, _ in read(seconds)] == pytest.approx(stamps, abs=1000)
    counted = write_images(tmp_path / "counted", images, [f"frame{n}.png" for n in range(11)])
    frames = read(counted)
    np.testing.assert_array_equal(frames[10][1], images[10])  # frame10 comes after frame9
    assert prepare(tmp_path, counted).summary.sequences == 1


def test_videos(tmp_path):
    path = str(tmp_path / "walk.avi")
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for image in panning_images(5):
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()
    frames = read(path)
    assert [stamp for stamp, _ in frames] == [n * SECOND // 25 for n in range(5)]
    assert np.abs(frames[4][1].astype(int) - panning_images(5)[4]).mean() < 8


def test_compressed_images_that_are_not():
    for data in (b"", b"no image", np.zeros(100, np.uint8)):
        with pytest.raises(ValueError, match="no picture"):
            decode_compressed_image(data)


# ---------------------------------------------------------------- cutting


def test_pairs_are_neighbors_and_the_held_out_part_is_the_last(tmp_path):
    images = panning_images(20)
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", images), held_out_share=0.25, strides=[1, 3])
    stamps = np.array(regular_stamps(20))
    steps = sorted({int(step) for step in np.diff(prepared.training.stamps, axis=1).ravel()})
    assert steps == [INTERVAL, 3 * INTERVAL]
    assert len(prepared.training) == 14 + 12
    assert len(prepared.held_out) == 4, "judged is the motion that the camera itself shows"
    assert (np.diff(prepared.held_out.stamps, axis=1) == INTERVAL).all()
    assert prepared.training.stamps.max() == stamps[14]
    assert prepared.held_out.stamps.min() == stamps[15]
    first, second = prepared.training[3]
    np.testing.assert_array_equal(first, images[3])
    np.testing.assert_array_equal(second, images[4])


def test_each_recording_has_a_held_out_part(tmp_path):
    hour = 3600 * SECOND
    stamps = [*regular_stamps(10), *regular_stamps(10, START + hour)]
    bag = write_ros2(tmp_path / "bag", panning_images(20), stamps)
    video = write_images(tmp_path / "stills", panning_images(10), [f"{stamp}.png" for stamp in regular_stamps(10)])
    settings = FrameSettings(held_out_share=0.4)
    prepared = prepare_pairs([str(bag), str(video)], tmp_path / "frames", settings, progress=False)
    assert prepared.training.numbers.ravel().tolist() == [
        number for start in (0, 10, 20) for first in range(start, start + 5) for number in (first, first + 1)
    ]
    held_out = prepared.held_out
    assert held_out.numbers[:, 0].tolist() == [6, 7, 8, 16, 17, 18, 26, 27, 28]
    assert held_out.recordings.tolist() == [
        name for name in ("1: /camera/image_raw", "2: /camera/image_raw", f"3: {video}") for _ in range(3)
    ]
    to_choose_by, to_report_on = split_held_out(held_out)
    assert to_choose_by.numbers[:, 0].tolist() == [6, 7, 16, 17, 26, 27]
    assert to_report_on.numbers[:, 0].tolist() == [8, 18, 28]


def test_nothing_is_held_out_on_request(tmp_path):
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", panning_images(3)), held_out_share=0)
    assert (len(prepared.training), len(prepared.held_out)) == (2, 0)


def crossing(prepared, border):
    """Pairs with one frame before the border and one behind it, by frame number."""
    numbers = np.concatenate([prepared.training.numbers, prepared.held_out.numbers])
    return ((numbers < border).any(1) & (numbers >= border).any(1)).sum()


@pytest.mark.parametrize(
    "later, reason",
    [
        (START + 20 * INTERVAL, "gap of more than 0.1 s"),
        (START - 100 * INTERVAL, "time jumps back"),
    ],
)
def test_gaps_and_jumps_cut(tmp_path, later, reason):
    stamps = [*regular_stamps(10), *regular_stamps(10, later)]
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", panning_images(20), stamps))
    assert crossing(prepared, 10) == 0
    assert prepared.summary.cuts == {reason: 1}
    assert prepared.summary.sequences == 2


def test_a_longer_gap_can_be_allowed(tmp_path):
    stamps = [*regular_stamps(10), *regular_stamps(10, START + 20 * INTERVAL)]
    bag = write_ros2(tmp_path / "bag", panning_images(20), stamps)
    assert prepare(tmp_path, bag, longest_gap_seconds=1.0).summary.sequences == 1


def test_a_bag_that_was_recorded_from_a_loop_counts_once(tmp_path):
    bag = write_ros2(tmp_path / "bag", 3 * panning_images(10), 3 * regular_stamps(10))
    prepared = prepare(tmp_path, bag)
    assert prepared.summary.verdicts == {"kept": 10, "stamp seen before": 20}
    assert prepared.summary.sequences == 1


def test_another_size_cuts(tmp_path):
    images = [*panning_images(6), *(image[:64] for image in panning_images(6))]
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", images))
    assert crossing(prepared, 6) == 0
    assert prepared.summary.cuts == {"another camera or image size": 1}


def test_the_next_shot_of_a_video_cuts(tmp_path):
    images = [*panning_images(8), *(255 - image // 3 for image in panning_images(8, seed=1))]
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", images))
    assert crossing(prepared, 8) == 0
    assert prepared.summary.cuts == {"the view changes at once": 1}


def test_a_frame_id_that_changes_with_each_image_is_told(tmp_path):
    images, stamps = panning_images(24), regular_stamps(24)
    for number in range(24):
        write_ros2(tmp_path / f"bags/{number}", [images[number]], [stamps[number]], frame_id=f"frame{number}")
    with pytest.raises(NotEnoughFrames, match=r"header\.frame_id come in between.*frame_id stays the same") as error:
        prepare(tmp_path, tmp_path / "bags")
    assert "and 14 more" in str(error.value.summary)


def test_one_frame_makes_no_pair(tmp_path):
    with pytest.raises(NotEnoughFrames, match="1 usable frame") as error:
        prepare(tmp_path, write_ros2(tmp_path / "bag", panning_images(1)))
    assert error.value.summary.verdicts == {"kept": 1}


# ---------------------------------------------------------------- filters


def test_duplicates_and_dropped_frames_do_not_cut(tmp_path):
    images = [image for image in panning_images(10) for _ in range(2)]
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", images))
    assert prepared.summary.verdicts == {"kept": 10, "duplicate": 10}
    assert prepared.summary.sequences == 1
    assert np.all(np.diff(prepared.training.numbers, axis=1) == 2)


def test_a_pair_does_not_span_a_long_rest(tmp_path):
    moving = panning_images(20)
    images = [*moving[:10], *(40 * [moving[9]]), *moving[10:]]
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", images))
    assert crossing(prepared, 10) == 0
    assert prepared.summary.cuts == {"nothing moved for more than 1 s": 1}


def noisy(image, deviation, seed):
    noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def classify(images):
    frame_filter = FrameFilter()
    return [frame_filter.classify(image) for image in images]


def large_texture(seed=0):
    """480x640, as a camera delivers it."""
    noise = np.random.default_rng(seed).uniform(0, 255, (480, 700, 3))
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 30, 220, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("deviation", [1, 5, 15])
def test_noise_is_no_motion_and_motion_no_noise(deviation):
    texture = large_texture()
    resting = [noisy(texture[:, :640], deviation, seed) for seed in range(5)]
    assert classify(resting) == [FrameVerdict.KEPT] + 4 * [FrameVerdict.STATIC]
    moving = [noisy(texture[:, 2 * n : 2 * n + 640], deviation, n) for n in range(5)]
    assert classify(moving) == 5 * [FrameVerdict.KEPT]


def test_strips_as_low_as_those_of_lidars_are_judged():
    texture = large_texture()[:40]
    assert classify([noisy(texture[:, :640], 5, seed) for seed in range(5)]).count(FrameVerdict.STATIC) >= 3
    assert classify([noisy(texture[:, 6 * n : 6 * n + 640], 5, n) for n in range(5)]) == 5 * [FrameVerdict.KEPT]


def test_slow_motion_adds_up():
    texture = large_texture()
    shifts = [np.float32([[1, 0, -0.05 * n], [0, 1, 0]]) for n in range(60)]
    verdicts = classify([cv2.warpAffine(texture, shift, (640, 480)) for shift in shifts])
    assert 3 < verdicts.count(FrameVerdict.KEPT) < 40
    assert FrameVerdict.STATIC in verdicts


def test_bad_exposure():
    texture = large_texture()[:, :640]
    black, white, fog = np.zeros_like(texture), np.full_like(texture, 255), np.full_like(texture, 120)
    dim = texture // 8  # a night drive is not a lens cap
    images = [noisy(black, 3, 0), noisy(white, 3, 0), noisy(fog, 3, 0), noisy(dim, 1, 0)]
    assert classify(images) == [
        FrameVerdict.TOO_DARK,
        FrameVerdict.TOO_BRIGHT,
        FrameVerdict.NO_CONTRAST,
        FrameVerdict.KEPT,
    ]


def test_a_blurred_frame_is_dropped_but_a_blurred_camera_is_not(tmp_path):
    images = panning_images(20, step=6)
    blurred = [cv2.GaussianBlur(image, (0, 0), 3) for image in images]
    one = write_ros2(tmp_path / "one", [*images[:9], blurred[9], *images[10:]])
    assert prepare(tmp_path, one).summary.verdicts == {"kept": 19, "blurred": 1}
    assert prepare(tmp_path, write_ros2(tmp_path / "all", blurred)).summary.verdicts == {"kept": 20}
    assert prepare(tmp_path, one, filters=[]).summary.verdicts == {"kept": 20}


@pytest.mark.parametrize("level, label", [(128, "static"), (0, "too dark")])
def test_a_bag_of_nothing_says_why(tmp_path, level, label):
    picture = panning_images(1)[0] if level else np.zeros((96, 128, 3), np.uint8)
    images = [noisy(picture, 2, seed) for seed in range(10)]
    with pytest.raises(NotEnoughFrames, match=label) as error:
        prepare(tmp_path, write_ros2(tmp_path / "bag", images))
    assert error.value.summary.verdicts[label] >= 9


# ---------------------------------------------------------------- cache


def test_frames_are_decoded_once(tmp_path, monkeypatch):
    bag = write_ros2(tmp_path / "bag", panning_images(12))
    first = prepare(tmp_path, bag)
    monkeypatch.setattr(preparation, "decode_frames", None)
    again = prepare(tmp_path, bag, held_out_share=0.5)
    assert len(again.held_out) > len(first.held_out)
    assert again.summary.verdicts == first.summary.verdicts
    with pytest.raises(TypeError):
        prepare(tmp_path, bag, filters=[])  # other filters want other frames


def test_resumes_where_it_was_killed(tmp_path):
    moving = panning_images(30)
    images = [*moving[:10], *(5 * [moving[9]]), *moving[10:20], *(5 * [moving[19]]), *moving[20:]]
    bag = write_ros2(tmp_path / "bag", images)
    whole = prepare(tmp_path, bag)
    cache = whole.contact_sheet.parent
    log = (cache / "index.jsonl").read_text().splitlines(keepends=True)
    untouched = cache / "images" / "00000005.bmp"
    time = untouched.stat().st_mtime_ns
    for line in (0, 1, 14, 20, 30):
        (cache / "finished.json").unlink()
        (cache / "index.jsonl").write_text("".join(log[:line]) + log[line][:9])  # cut off in the middle of a line
        (cache / "images" / "00000029.bmp").unlink(missing_ok=True)
        resumed = prepare(tmp_path, bag)
        assert (cache / "index.jsonl").read_text().splitlines(keepends=True) == log
        np.testing.assert_array_equal(resumed.held_out.numbers, whole.held_out.numbers)
        np.testing.assert_array_equal(resumed.held_out[-1][1], images[-1])
        if line >= 14:
            assert untouched.stat().st_mtime_ns == time
        time = untouched.stat().st_mtime_ns


def test_resumes_after_a_frame_that_is_of_no_use(tmp_path):
    stamps = regular_stamps(20)
    stamps[7] = stamps[6]
    bag = write_ros2(tmp_path / "bag", panning_images(20), stamps)
    cache = prepare(tmp_path, bag).contact_sheet.parent
    log = (cache / "index.jsonl").read_text().splitlines(keepends=True)
    for line in range(7, 10):
        (cache / "finished.json").unlink()
        (cache / "index.jsonl").write_text("".join(log[:line]))
        prepare(tmp_path, bag)
        assert (cache / "index.jsonl").read_text().splitlines(keepends=True) == log


def test_a_full_cache_keeps_bursts_of_all_of_the_recording(tmp_path):
    bag = write_ros2(tmp_path / "bag", panning_images(160, step=1))
    size = sum(path.stat().st_size for path in prepare(tmp_path, bag).contact_sheet.parent.glob("images/*.bmp"))
    prepared = prepare(tmp_path, bag, cache_gigabytes=size * 0.4 / 1e9)
    assert prepared.summary.verdicts == {"kept": 48, "thinned out": 112}
    assert sum(path.stat().st_size for path in prepared.contact_sheet.parent.glob("images/*.bmp")) <= size * 0.4
    numbers = np.unique(np.concatenate([prepared.training.numbers, prepared.held_out.numbers]))
    assert set(numbers // 16) == {0, 4, 8}
    assert np.all(np.diff(prepared.training.numbers, axis=1) == 1)
    with pytest.raises(FrameSourceError, match="raise cache_gigabytes"):
        prepare(tmp_path, bag, cache_gigabytes=1e-6)


def test_large_frames_are_scaled_down(tmp_path):
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", panning_images(10)), longest_side=64)
    assert prepared.training[0][0].shape == (48, 64, 3)


# ---------------------------------------------------------------- the command


def test_command_prints_the_summary_and_draws_the_contact_sheet(tmp_path, capsys):
    images = panning_images(12)
    bag = write_ros2(tmp_path / "bag", [*images, images[-1]])
    assert main([str(bag), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "13 frames" in printed
    assert "duplicate" in printed
    sheets = list((tmp_path / "out").glob("*/contact_sheet.png"))
    assert cv2.imread(str(sheets[0])).shape[0] > 300  # three rows: training, held out, duplicates


def test_frames_are_kept_in_a_folder_of_any_name(tmp_path):
    """OpenCV aborts the process if a file name is not UTF-8."""
    bag = write_ros2(tmp_path / "bag", panning_images(12))
    assert main([str(bag), "--out", str(tmp_path / os.fsdecode(b"caf\xe9"))]) == 0


def test_command_names_the_error(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere.mcap"), "--out", str(tmp_path)]) == 1
    assert main([str(tmp_path), "--out", str(tmp_path), "--held-out-share", "2"]) == 1
    printed = capsys.readouterr().err
    assert "nowhere.mcap does not exist" in printed
    assert "held_out_share" in printed


def test_bags_of_one_glob_are_read_in_the_order_of_their_time(tmp_path):
    images, stamps = panning_images(20), regular_stamps(20)
    write_ros2(tmp_path / "bags" / "a_later", images[10:], stamps[10:])
    write_ros2(tmp_path / "bags" / "z_earlier", images[:10], stamps[:10])
    prepared = prepare(tmp_path, tmp_path / "bags" / "[az]_*")
    assert prepared.held_out.stamps.max() == stamps[-1] and prepared.summary.sequences == 1


def test_a_recording_that_cannot_be_read_costs_itself_alone(tmp_path):
    good = write_ros2(tmp_path / "good", panning_images(10))
    other = write_ros2(tmp_path / "other", panning_images(4), topic="/left/image_raw")
    empty = tmp_path / "empty.mcap"
    empty.touch()
    unread = [f"bag:{other}#/camera/image_raw", f"bag:{empty}"]
    prepared = prepare(tmp_path, *unread, f"bag:{good}#/camera/image_raw")
    assert prepared.summary.training_pairs == 7
    warnings = "\n".join(prepared.summary.warnings)
    assert "topic /camera/image_raw does not exist" in warnings and f"{empty} is empty" in warnings
    with pytest.raises(FrameSourceError, match=r"empty\.mcap is empty|/camera/image_raw does not exist"):
        prepare(tmp_path, *unread)


def test_images_of_which_none_can_be_decoded_are_an_error(tmp_path):
    bag = write_ros2(tmp_path / "depth", panning_images(6), encoding="32FC1")
    with pytest.raises(FrameSourceError, match=r"none of 6 images can be decoded: choose another topic(.|\n)*32FC1"):
        prepare(tmp_path, bag)


def test_seconds_with_one_decimal_are_times(tmp_path):
    names = [f"{1700000000 + number / 10:.1f}.png" for number in range(4)]
    folder = write_images(tmp_path / "tenths", panning_images(4), names)
    assert np.diff([stamp for stamp, _ in read(folder)]).tolist() == [10**8] * 3


def test_a_glob_of_images_is_told_to_name_their_folder(tmp_path):
    folder = write_images(tmp_path / "frames", panning_images(2), ["0.png", "1.png"])
    with pytest.raises(FrameSourceError, match="name their folder"):
        prepare(tmp_path, f"{folder}/*.png")


@pytest.mark.parametrize("far_off", [50 * SECOND, START + 5000 * SECOND])
def test_one_stamp_far_off_does_not_cut_a_recording_in_two(tmp_path, far_off):
    stamps = regular_stamps(30)
    stamps[12] = far_off
    prepared = prepare(tmp_path, write_ros2(tmp_path / "bag", panning_images(30), stamps), held_out_share=0.2)
    assert set(prepared.held_out.recordings) == {"1: /camera/image_raw"}
    assert prepared.held_out.stamps.min() > max(stamps[:12])


def test_frames_may_be_decoded_below_the_folder_of_their_recording(tmp_path):
    (tmp_path / "tum").mkdir()
    write_images(tmp_path / "tum" / "rgb", panning_images(10), [f"{n}.png" for n in range(10)])
    for _ in range(2):
        prepared = prepare_pairs([str(tmp_path / "tum")], tmp_path / "tum" / "frames", progress=False)
        assert prepared.summary.verdicts == {"kept": 10}


def test_two_runs_of_a_simulation_are_two_recordings(tmp_path):
    stamps = regular_stamps(40, SECOND)
    runs = [str(write_ros2(tmp_path / f"run{seed}", panning_images(40, seed=seed), stamps)) for seed in range(2)]
    for sources in (runs, [str(tmp_path / "run*")]):
        prepared = prepare_pairs(sources, tmp_path / "frames", FrameSettings(held_out_share=0.4), progress=False)
        assert prepared.summary.verdicts == {"kept": 80}
        assert list(dict.fromkeys(prepared.held_out.recordings)) == ["1: /camera/image_raw", "2: /camera/image_raw"]


def test_a_bag_that_is_named_twice_counts_once(tmp_path):
    bag = write_ros2(tmp_path / "bag", panning_images(10))
    sources = [str(bag), str(bag / "bag.mcap"), f"bag:{tmp_path}/../{tmp_path.name}/bag"]
    prepared = prepare_pairs(sources, tmp_path / "frames", FrameSettings(), progress=False)
    assert prepared.summary.verdicts == {"kept": 10}


def test_a_corrected_file_of_times_is_read_again(tmp_path):
    images = write_images(tmp_path / "stills", panning_images(10), [f"{number}.png" for number in range(10)])
    times = images / "times.txt"
    times.write_text("wrong\n" * 3)
    assert prepare(tmp_path, images).summary.rate_hz == pytest.approx(30)
    times.write_text("".join(f"{number / 10}\n" for number in range(10)))
    assert prepare(tmp_path, images).summary.rate_hz == pytest.approx(10)


def test_a_link_to_nothing_costs_itself_alone(tmp_path):
    images = write_images(tmp_path / "stills", panning_images(12), [f"{number:02d}.png" for number in range(12)])
    (images / "12.png").symlink_to(tmp_path / "gone.png")
    assert prepare(tmp_path, images).summary.verdicts == {"kept": 12, "undecodable": 1}
    (hashed,) = hash_recordings([str(images)])
    assert (hashed["path"], hashed["files"]) == (str(images), 12)
