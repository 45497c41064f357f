# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as people really have them: read rightly, or refused for the true reason."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import INTERVAL, SECOND, START, image_message, panning_images, regular_stamps, write_ros2
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_file import McapFile
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mdflow_ros.commands.repair_bag import INCOMPLETE
from mdflow_ros.commands.repair_bag import main as repair
from mdflow_ros.recordings.bag_message import zstd
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.image_counters import unusual_numbers
from mdflow_ros.recordings.image_series import non_camera_word
from mdflow_ros.recordings.image_stamps import ASSUMED_INTERVAL, CLIP_GAP, stamp_in_name
from mdflow_ros.recordings.source import parse_source
from mdflow_ros.recordings.stamps import why_not_trusted

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"
ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.LATEST)
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1234567\n"
BATTERY = b"float32 volts\nfloat32 amperes\n"
SEPARATOR = "=" * 80
BATTERY_IDL = f"""{SEPARATOR}
IDL: my_robot_msgs/msg/Battery
#include "my_robot_msgs/msg/Volts.idl"
module my_robot_msgs {{ module msg {{
  @verbatim (language="comment", text="of the drive")
  struct Battery {{ my_robot_msgs::msg::Volts volts; float amperes; }};
}}; }};
{SEPARATOR}
IDL: my_robot_msgs/msg/Volts
// the robot's own
module my_robot_msgs {{ module msg {{ struct Volts {{ float value; }}; }}; }};
""".encode()


def read(source: Path | str) -> tuple[list[int], list[np.ndarray], list[str]]:
    warnings: list[str] = []
    frames = [(frame.stamp, frame.decode()) for _, frame in parse_source(str(source)).frames(warnings)]
    return [stamp for stamp, _ in frames], [image for _, image in frames], warnings


def add_images(
    file: McapFile, images: list[np.ndarray], encoding: str = "cdr", topic: str = "/camera/image_raw"
) -> None:
    store = ROS1 if encoding == "ros1" else ROS2
    definition, _ = store.generate_msgdef(IMAGE)
    channel = file.channel(topic, encoding, IMAGE, "ros1msg" if encoding == "ros1" else "ros2msg", definition.encode())
    serialize = store.serialize_ros1 if encoding == "ros1" else store.serialize_cdr
    for stamp, image in zip(regular_stamps(len(images)), images, strict=True):
        file.message(channel, stamp, bytes(serialize(image_message(store, stamp, image), IMAGE)))


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, panning_images(len(names)), strict=True):
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), image[..., ::-1])[1].tobytes())
    return folder


@pytest.mark.parametrize("encoding", ["cdr", "ros1"])
def test_mcap_with_other_encodings_beside_the_camera_is_sound(tmp_path: Path, encoding: str) -> None:
    images = panning_images(5)
    file = McapFile(tmp_path / "drive.mcap")
    file.message(
        file.channel("/scene", "protobuf", "foxglove.SceneUpdate", "protobuf", b"\x0a\xff\x00"), START, b"\x01"
    )
    file.message(file.channel("/log", "json", "Log", "jsonschema", b"{}"), START, b"{}")
    file.message(file.channel("/free", "json", "", ""), START, b"{}")
    add_images(file, images, encoding)
    stamps, decoded, warnings = read(file.finish())
    assert stamps == regular_stamps(5) and warnings == []
    for image, expected in zip(decoded, images, strict=True):
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("head", [b"\0\7\0\0", b"\0\1\0\3"])
def test_either_version_of_cdr_is_read(tmp_path: Path, head: bytes) -> None:
    file, images = McapFile(tmp_path / "drive.mcap"), panning_images(2)
    channel = file.channel("/camera/image_raw", "cdr", IMAGE, "ros2msg")
    for stamp, image in zip(regular_stamps(2), images, strict=True):
        file.message(channel, stamp, head + bytes(ROS2.serialize_cdr(image_message(ROS2, stamp, image), IMAGE))[4:])
    stamps, decoded, warnings = read(file.finish())
    assert stamps == regular_stamps(2) and not warnings
    np.testing.assert_array_equal(decoded, images)


def test_another_serialization_of_dds_is_named(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    file.message(file.channel("/camera/image_raw", "cdr", IMAGE, "ros2msg"), START, b"\0\x09\0\0" + bytes(40))
    with pytest.raises(ValueError, match="DDS serialization 0009, which is not read"):
        read(file.finish())


def test_a_file_of_other_encodings_says_so(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    file.message(file.channel("/camera", "protobuf", "foxglove.RawImage", "protobuf"), START, b"\x01")
    with pytest.raises(
        FrameSourceError, match=r"(?s)/camera \(foxglove\.RawImage as protobuf\).*convert the file"
    ) as error:
        read(file.finish())
    assert "damaged" not in str(error.value)


def test_video_packets_are_named(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    file.message(file.channel("/camera", "cdr", "foxglove_msgs/msg/CompressedVideo", "ros2msg"), START, b"\0\1\0\0")
    with pytest.raises(FrameSourceError, match="Packets of a video stream are not images"):
        read(file.finish())


def test_lfs_pointers_empty_files_and_wrong_endings_are_named(tmp_path: Path) -> None:
    for name in ("drive.mcap", "walk.mp4", "old.bag"):
        (tmp_path / name).write_text(LFS_POINTER)
        with pytest.raises(FrameSourceError, match="git lfs pull"):
            read(tmp_path / name)
    stills = tmp_path / "stills"
    stills.mkdir()
    (stills / "0001.png").write_text(LFS_POINTER)
    with pytest.raises(FrameSourceError, match="git lfs pull"):
        read(stills)
    (tmp_path / "empty.mcap").touch()
    with pytest.raises(FrameSourceError, match="is empty"):
        read(tmp_path / "empty.mcap")
    (tmp_path / "wrong.mcap").write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(FrameSourceError, match=r"holds a \.db3 file: rename"):
        read(tmp_path / "wrong.mcap")
    (tmp_path / "packed.mcap").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(FrameSourceError, match="`unzip` first"):
        read(tmp_path / "packed.mcap")


def test_copies_of_image_transport_leave_the_raw_topic(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    add_images(file, panning_images(3))
    for transport in ("compressed", "zstd", "theora", "compressedDepth", "ffmpeg"):
        file.message(
            file.channel(f"/camera/image_raw/{transport}", "cdr", "sensor_msgs/msg/CompressedImage", ""), START, b""
        )
    assert len(read(file.finish())[0]) == 3


@pytest.mark.parametrize("corrupt", [1, 3])
def test_a_camera_whose_first_messages_are_corrupt_is_one_of_the_cameras(tmp_path: Path, corrupt: int) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    left = file.channel("/left/image_raw", "cdr", IMAGE, "ros2msg")
    for n, image in enumerate(panning_images(3)):
        data = bytes(ROS2.serialize_cdr(image_message(ROS2, START, image), IMAGE))
        file.message(left, START, data[:20] if n < corrupt else data)
    add_images(file, panning_images(3), topic="/right/image_raw")
    with pytest.raises(FrameSourceError, match="several image topics"):
        read(file.finish())


def test_compressed_images_below_an_empty_raw_topic_are_the_camera(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/camera/image_raw", IMAGE, typestore=ROS2)
        copy = writer.add_connection("/camera/image_raw/compressed", COMPRESSED_IMAGE, typestore=ROS2)
        for stamp, image in zip(regular_stamps(3), panning_images(3), strict=True):
            message = image_message(ROS2, stamp, image, "jpeg")
            writer.write(copy, stamp, ROS2.serialize_cdr(message, COMPRESSED_IMAGE))
    assert len(read(tmp_path / "bag")[0]) == 3


@pytest.mark.parametrize("cameras", [1, 2])
def test_packets_of_a_video_stream_are_no_camera(tmp_path: Path, cameras: int) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    packet = image_message(ROS2, START, panning_images(1)[0], "jpeg")
    packet.format = "h264"
    video = file.channel("/a/h264", "cdr", COMPRESSED_IMAGE, "ros2msg")
    file.message(video, START, bytes(ROS2.serialize_cdr(packet, COMPRESSED_IMAGE)))
    for number in range(cameras):
        add_images(file, panning_images(3), topic=f"/camera{number}/image_raw")
    path = file.finish()
    if cameras == 1:
        assert len(read(path)[0]) == 3
    else:
        with pytest.raises(FrameSourceError, match=r"as in 'bag:.*#/camera0/image_raw'"):
            read(path)


@pytest.mark.parametrize(
    "storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3, None], ids=["mcap", "sqlite", "salvaged"]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_topic_of_two_types_gives_its_images(tmp_path: Path, storage: StoragePlugin | None, first: bool) -> None:
    text = bytes(ROS2.serialize_cdr(ROS2.types[STRING]("hello"), STRING))
    messages = [
        (stamp, IMAGE, bytes(ROS2.serialize_cdr(image_message(ROS2, stamp, image), IMAGE)))
        for stamp, image in zip(regular_stamps(3), panning_images(3), strict=True)
    ]
    messages.insert(0 if first else 3, (START - 1 if first else START + 10**9, STRING, text))
    if storage is None:
        file = McapFile(tmp_path / "bag.mcap")
        for stamp, kind, data in messages:
            file.message(file.channel("/camera", "cdr", kind, "ros2msg"), stamp, data)
        path = file.finish()
    else:
        path = tmp_path / "bag"
        with Writer(path, version=8, storage_plugin=storage) as writer:
            kinds = (STRING, IMAGE) if first else (IMAGE, STRING)
            connections = {kind: writer.add_connection("/camera", kind, typestore=ROS2) for kind in kinds}
            for stamp, kind, data in messages:
                writer.write(connections[kind], stamp, data)
    assert read(path)[0] == regular_stamps(3)


def test_the_part_that_a_killed_recorder_left_is_of_the_same_bag(tmp_path: Path) -> None:
    images, stamps = panning_images(12), regular_stamps(12)
    write_ros2(tmp_path / "drive", images[:6], stamps[:6])
    write_ros2(tmp_path / "drive" / "drive_1", images[6:], stamps[6:])
    (tmp_path / "drive" / "drive_1" / "metadata.yaml").unlink()
    assert [frame.bag for _, frame in parse_source(str(tmp_path / "drive")).frames([])] == [0] * 12


def test_bags_of_one_simulated_time_in_a_folder_stay_apart(tmp_path: Path) -> None:
    images = panning_images(20)
    stamps = regular_stamps(10, start=10**9)
    for number in range(2):
        write_ros2(tmp_path / f"run{number}", images[10 * number :][:10], stamps)
    frames = [frame for _, frame in parse_source(str(tmp_path)).frames([])]
    assert [(frame.bag, frame.stamp) for frame in frames] == [(bag, stamp) for bag in (0, 1) for stamp in stamps]
    np.testing.assert_array_equal([frame.decode() for frame in frames], images)


def test_files_of_a_mac_are_passed_over(tmp_path: Path) -> None:
    stamps = [START + n * 200_000_000 for n in range(4)]
    stills = write_images(tmp_path / "stills", [f"{stamp}.png" for stamp in stamps])
    for name in (".DS_Store", *(f"._{stamp}.png" for stamp in stamps)):
        (stills / name).write_bytes(b"\0\5\x16\7")
    assert read(stills)[0] == stamps
    bag = write_ros2(tmp_path / "bag", panning_images(3))
    part = next(bag.glob("*.db3"), None) or next(bag.glob("*.mcap"))
    (bag / f"._{part.name}").write_bytes(b"\0\5\x16\7")
    assert len(read(bag)[0]) == 3 and read(bag)[2] == []


@pytest.mark.parametrize("folder", ["run #3 [left] ä", "a#b#/c", "*star", "UPPER.MCAP.d"])
def test_any_path_that_exists_is_taken_as_it_is(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    file = McapFile(tmp_path / folder / "drive #2.mcap")
    add_images(file, panning_images(3))
    path = file.finish()
    for name in (path, path.parent, f"{path}#/camera/image_raw", f"bag:{path}#camera/image_raw"):
        assert len(read(name)[0]) == 3
    stills = write_images(tmp_path / folder / "stills #1", ["1.PNG", "2.png"])
    assert len(read(stills)[0]) == 2


def test_data_sets_are_read_from_the_folder_above_or_their_folders_are_named(tmp_path: Path) -> None:
    names = [f"{stamp}.png" for stamp in regular_stamps(3)]
    write_images(tmp_path / "MH01" / "mav0" / "cam0" / "data", names)
    for name in ("MH01/mav0/cam0/data", "MH01/mav0/cam0", "MH01"):
        assert read(tmp_path / name)[0] == regular_stamps(3)
    write_images(tmp_path / "MH01" / "mav0" / "cam1" / "data", names)
    with pytest.raises(FrameSourceError, match=r"name one of them:\n.*cam0/data\n.*cam1/data"):
        read(tmp_path / "MH01")
    write_images(tmp_path / "tum" / "rgb", names)
    write_images(tmp_path / "tum" / "depth", names)
    assert read(tmp_path / "tum")[0] == regular_stamps(3)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("{:04d}_left.png", "{:04d}_right.png"),
        ("left-{:04d}.png", "right-{:04d}.png"),
        ("17000000{:02d}.500_L.png", "17000000{:02d}.500_R.png"),
        ("frame_{:04d}_cam0.png", "frame_{:04d}_cam1.png"),
        ("Camera-1_{:04d}.png", "Camera-2_{:04d}.png"),
        ("17000000{:02d}000000000_cam0.png", "17000000{:02d}000000000_cam1.png"),
        ("17000000{:02d}000000_0.png", "17000000{:02d}000000_1.png"),
        ("{0}_17000000{0:02d}000_left.png", "{0}_17000000{0:02d}000_right.png"),
        ("image{:04d}_0.png", "image{:04d}_1.png"),
        ("image_0_{}.png", "image_1_{}.png"),
        ("{:03d}a.png", "{:03d}b.png"),
    ],
)
def test_two_cameras_in_one_folder_are_read_one_after_the_other(tmp_path: Path, left: str, right: str) -> None:
    images = panning_images(10)
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / left.format(number)), image[..., ::-1])
        cv2.imwrite(str(tmp_path / right.format(number)), image[::-1, :, ::-1])
    warnings: list[str] = []
    frames = [(camera, frame.stamp, frame.decode()) for camera, frame in parse_source(str(tmp_path)).frames(warnings)]
    assert len({camera for camera, _, _ in frames[:10]}) == 1 and len({camera for camera, _, _ in frames}) == 2
    assert [stamp for _, stamp, _ in frames[:10]] == [stamp for _, stamp, _ in frames[10:]]
    np.testing.assert_array_equal([image for _, _, image in frames[:10]], images)
    np.testing.assert_array_equal([image[::-1] for _, _, image in frames[10:]], images)
    assert "2 cameras" in warnings[0]


@pytest.mark.parametrize("name", ["{:x}.png", "frame_{:04x}.png", "{:02X}_left.png", "{}.png", "img_{}.png"])
def test_numbers_may_be_hexadecimal_or_negative(tmp_path: Path, name: str) -> None:
    numbers = range(20) if "{}" not in name else range(-10, 10)
    stamps, shown, warnings = read(write_images(tmp_path, [name.format(number) for number in numbers]))
    np.testing.assert_array_equal(shown, panning_images(20))
    assert np.diff(stamps).tolist() == [ASSUMED_INTERVAL] * 19 and "30 Hz" in warnings[0]


def test_hashes_are_no_hexadecimal_numbers(tmp_path: Path) -> None:
    names = [f"{hashlib.sha256(bytes([n])).hexdigest()[:8]}.png" for n in range(10)]
    assert len(read(write_images(tmp_path, names))[0]) == 10
    assert not unusual_numbers([tmp_path / name for name in names])


def test_depth_images_beside_a_camera_s_are_left_out(tmp_path: Path) -> None:
    images = write_images(tmp_path / "both", [f"frame{n:03d}_color.png" for n in range(5)])
    write_images(images, [f"frame{n:03d}_depth.png" for n in range(5)])
    stamps, decoded, warnings = read(images)
    assert len(stamps) == 5 and np.array_equal(decoded[4], panning_images(5)[4])
    assert "only the images frame#_color.png (5) are read" in warnings[0] and "5 images" in warnings[1]


def test_depth_images_that_are_named_as_the_recording_are_told(tmp_path: Path) -> None:
    bag = write_ros2(tmp_path / "drive", panning_images(6), topic="/camera/depth/image_rect_raw")
    folder = write_images(tmp_path / "scene" / "masks", [f"{n:04d}.png" for n in range(5)])
    for source, word in ((bag, "depth"), (folder, "masks")):
        assert any(
            f"may not hold camera images, because its name contains '{word}'" in warning for warning in read(source)[2]
        )
    for number, topic in enumerate(
        ("/depth_camera/image_raw", "/robot/depth_sensor/rgb/image", "/depth/color/image_raw")
    ):
        assert not read(write_ros2(tmp_path / f"other{number}", panning_images(6), topic=topic))[2]
    for topic in ("/camera/aligned_depth_to_color/image_raw", "/camera/color/depth/image"):
        assert non_camera_word(topic) == "depth"


@pytest.mark.parametrize(
    "word", ["mask", "semantic", "distance_to_camera", "flow", "Labels", "disparity", "instance_seg", "thumb"]
)
def test_what_is_computed_from_images_is_no_camera(tmp_path: Path, word: str) -> None:
    images = write_images(tmp_path / "both", [f"{n:04d}.png" for n in range(5)])
    write_images(images, [f"{n:04d}_{word}.png" for n in range(5)])
    stamps, _, warnings = read(images)
    assert len(stamps) == 5 and "only the images #.png (5) are read" in warnings[0]


@pytest.mark.parametrize("endings", [("jpg", "JPG"), ("jpg", "png")])
def test_endings_that_change_make_no_second_camera(tmp_path: Path, endings: tuple[str, str]) -> None:
    images = write_images(tmp_path / "drive", [f"{n:04d}.{endings[n % 2]}" for n in range(10)])
    assert np.diff(read(images)[0]).tolist() == [ASSUMED_INTERVAL] * 9


def test_endings_that_alone_tell_cameras_apart_do(tmp_path: Path) -> None:
    images = write_images(tmp_path / "both", [f"{n:04d}.{ending}" for n in range(5) for ending in ("jpg", "png")])
    assert len(read(images)[0]) == 10 and "2 cameras" in read(images)[2][0]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    images = write_images(tmp_path / "disk" / "cam0" / "data", [f"{n:04d}.png" for n in range(5)])
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "mav0").symlink_to(tmp_path / "disk")
    (images / "round").symlink_to(tmp_path / "disk")
    assert len(read(tmp_path / "drive")[0]) == 5
    write_ros2(tmp_path / "usb" / "bag", panning_images(6))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "usb").symlink_to(tmp_path / "usb")
    assert len(read(tmp_path / "linked")[0]) == 6


def test_one_image_of_another_name_makes_no_second_camera(tmp_path: Path) -> None:
    images = write_images(tmp_path / "stills", [*(f"frame{n:03d}.png" for n in range(5)), "overview1.png"])
    assert len(read(images)[0]) == 6


def test_numbers_that_start_again_make_another_clip(tmp_path: Path) -> None:
    names = [f"scene{scene:02d}_{number:03d}.png" for scene in range(2) for number in range(3)]
    steps = np.diff(read(write_images(tmp_path / "clips", names))[0])
    assert [int(step) for step in steps] == [ASSUMED_INTERVAL, ASSUMED_INTERVAL, CLIP_GAP] + 2 * [ASSUMED_INTERVAL]


def test_opacity_says_nothing_about_the_range_of_sixteen_bits(tmp_path: Path) -> None:
    (image,) = panning_images(1)
    deep = np.dstack([image[..., ::-1].astype(np.uint16) * 16, np.full(image.shape[:2], 65535, np.uint16)])
    cv2.imwrite(str(tmp_path / "1.png"), deep)
    ((shown,), expected) = read(tmp_path)[1], image.astype(float)
    assert shown.std() > 0.5 * expected.std()


@given(st.integers(10**9, 2 * 10**9), st.integers(0, 999_999_999), st.sampled_from(["", "frame_", "left-"]))
def test_stamps_are_found_in_names(seconds: int, nanoseconds: int, prefix: str) -> None:
    stamp = seconds * 10**9 + nanoseconds
    assert stamp_in_name(f"{prefix}{stamp}") == stamp
    for separator in "_-":
        assert stamp_in_name(f"{prefix}{seconds}{separator}{nanoseconds}") == stamp
    assert stamp_in_name(f"{prefix}{seconds}.{nanoseconds:09d}") == stamp
    assert stamp_in_name(f"{seconds}.{nanoseconds // 1000:06d}") == stamp // 1000 * 1000
    assert stamp_in_name(f"{prefix}{stamp // 1_000_000}") == stamp // 1_000_000 * 1_000_000


@pytest.mark.parametrize("name", ["000123", "frame_000012", "left", "IMG_20260101_120000", "1.5", ""])
def test_other_names_hold_no_stamp(name: str) -> None:
    assert stamp_in_name(name) is None


def test_images_of_another_type_are_named(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    file.message(file.channel("/camera", "cdr", "foxglove_msgs/msg/RawImage", "ros2msg"), START, b"\0\1\0\0")
    with pytest.raises(FrameSourceError, match=r"Only sensor_msgs/msg/Image and .* are read as images: convert them"):
        read(file.finish())


@pytest.mark.parametrize(
    ("name", "nanoseconds"),
    [
        ("cam_2024-01-31_12-30-59.25", 250_000_000),
        ("20240131T123059.000250_left", 250_000),
        ("2024-01-31-12-30-59-025", 25_000_000),
        ("PXL_20240131_123059123", 123_000_000),
        ("PXL_20240131_123059025.MP", 25_000_000),
        ("ch1_20240131123059025", 25_000_000),
    ],
)
def test_dates_with_fractions_of_a_second_are_stamps(name: str, nanoseconds: int) -> None:
    assert stamp_in_name(name) == 1_706_704_259 * 10**9 + nanoseconds


def test_the_images_of_a_burst_are_counted(tmp_path: Path) -> None:
    images = write_images(tmp_path, [f"20240131_123059_{n:03d}.jpg" for n in (0, 1, 2, 3, 5)])
    stamps, _, warnings = read(images)
    assert stamps == [n * ASSUMED_INTERVAL for n in (0, 1, 2, 3, 5)] and "30 Hz is assumed" in warnings[0]


SECONDS = [0.0, 0.1, 0.2, 0.35]


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("left/timestamps.txt", [f"2011-09-26 13:02:{25 + second:012.9f}" for second in SECONDS]),  # KITTI, raw
        ("times.txt", [f"{second:e}" for second in SECONDS]),  # KITTI, odometry
        ("times.txt", ["# id time exposure", *(f"{n} {1446481543.5 + s} 9.3" for n, s in enumerate(SECONDS))]),  # TUM
        ("times.txt", [str(1403636579000000000 + round(second * 1e9)) for second in SECONDS]),
        ("timestamps.txt", [f"{1467394337.8 + second:.6f} {n:06d}.png" for n, second in enumerate(SECONDS)]),
        ("data.csv", ["#timestamp [ns],filename", *(f"{1403636579 * 10**9 + int(s * 1e9)},{s}.png" for s in SECONDS)]),
    ],
)
def test_times_stand_in_a_file_beside_the_images(tmp_path: Path, file: str, lines: list[str]) -> None:
    images = write_images(tmp_path / "left" / "data", [f"{n:010d}.png" for n in range(4)])
    (images.parent.parent / file).write_text("\n".join(lines))
    stamps, _, warnings = read(
        images if "left" in file else write_images(tmp_path / "right", ["1.png", "2.png", "3.png", "4.png"])
    )
    assert np.diff(stamps) == pytest.approx(np.diff(SECONDS) * 1e9, abs=200)
    assert not warnings


def test_a_file_of_times_for_other_images_is_named_and_not_used(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", ["1.png", "2.png", "3.png"])
    (tmp_path / "times.txt").write_text("0.0\n0.1\n")
    stamps, _, warnings = read(images)
    assert stamps == [0, ASSUMED_INTERVAL, 2 * ASSUMED_INTERVAL]
    assert "2 times in 2 lines, but 3 images" in warnings[0] and "30 Hz is assumed" in warnings[1]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("times.txt", "img_{n}.png {time:.3f}"),
        ("data.csv", "{ns},img_{n}.png"),
        ("rgb.txt", "{time:.4f} rgb/img_{n}.png"),
        ("times.txt", "img_{n} {time:.3f} 0.012"),
    ],
    ids=["name time", "EuRoC", "TUM", "stem time exposure"],
)
def test_times_belong_to_the_images_that_their_lines_name(tmp_path: Path, file: str, line: str) -> None:
    images = write_images(tmp_path / "rgb", [f"img_{n}.png" for n in range(12)])
    order = [*sorted(range(12), key=str), 12]  # img_1, img_10, ..., and one whose image was deleted
    lines = [line.format(n=n, time=n * 0.05, ns=START + n * 50_000_000) for n in order]
    (tmp_path / file).write_text("\n".join(["# a comment", *lines, ",,", ""]))
    stamps, decoded, warnings = read(images)
    assert np.diff(stamps).tolist() == [50_000_000] * 11 and not warnings
    np.testing.assert_array_equal(decoded, panning_images(12))


def test_times_are_found_where_dsec_and_uzh_fpv_have_them(tmp_path: Path) -> None:
    images = write_images(tmp_path / "dsec" / "images" / "left" / "rectified", [f"{n:06d}.png" for n in range(5)])
    times = [51_648_500_000 + n * 50_000 for n in range(5)]
    (tmp_path / "dsec" / "images" / "timestamps.txt").write_text("\n".join(map(str, times)))
    assert read(images)[0] == [time * 1000 for time in times]
    both = write_images(tmp_path / "uzh" / "img", [f"image_{camera}_{n}.png" for camera in range(2) for n in range(5)])
    for camera, (side, start) in enumerate((("left", 1_540_113_204), ("right", 1_540_113_205))):
        lines = [f"{n} {start + n / 10:.12f} img/image_{camera}_{n}.png" for n in range(5)]
        (tmp_path / "uzh" / f"{side}_images.txt").write_text("\n".join(["# id timestamp image_name", *lines]))
    stamps, _, warnings = read(both)
    expected = [start * SECOND + n * SECOND // 10 for start in (1_540_113_204, 1_540_113_205) for n in range(5)]
    assert stamps == pytest.approx(expected, abs=1000) and len(warnings) == 1


@pytest.mark.parametrize("name", ["images_and_timestamps.txt", "Cam0-Times.csv", "data.txt"])
def test_files_of_times_have_many_names(tmp_path: Path, name: str) -> None:
    images = write_images(tmp_path / "data", [f"{n:05d}.png" for n in range(5)])
    (tmp_path / name).write_text("\n".join(f"{1_420_000_000 + n / 10:.1f} data/{n:05d}.png" for n in range(5)))
    (tmp_path / "imu_times.txt").write_text("1\n2\n3\n")
    assert np.diff(read(images)[0]).tolist() == [SECOND // 10] * 4 and not read(images)[2]


def test_a_folder_whose_upper_folder_cannot_be_listed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_images(tmp_path / "data", ["1.png", "2.png"])
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    (tmp_path / "times.txt").write_text("1.5\n2.5\n")
    assert read(images)[0] == [1_500_000_000, 2_500_000_000]


@pytest.mark.parametrize(("start", "step", "unit"), [(10**15, SECOND // 30, 1), (10**12, 33_333, 1000)])
def test_sixteen_digits_may_be_nanoseconds_and_thirteen_microseconds(
    tmp_path: Path, start: int, step: int, unit: int
) -> None:
    times = [start + 7 + n * step for n in range(5)]
    assert read(write_images(tmp_path, [f"{time}.png" for time in times]))[0] == [time * unit for time in times]


def test_images_at_long_intervals_keep_their_dates(tmp_path: Path) -> None:
    times = [START // 1000 + n * 10_000_000 for n in range(5)]
    assert read(write_images(tmp_path, [f"{time}.png" for time in times]))[0] == [time * 1000 for time in times]


@pytest.mark.parametrize("name", ["47333462_{:.3f}.png", "frame-{:.2f}.png"])
def test_seconds_may_follow_the_name_of_the_video(tmp_path: Path, name: str) -> None:
    stamps, _, warnings = read(write_images(tmp_path, [name.format(380.5 + n / 10) for n in range(8)]))
    assert stamps == [380_500_000_000 + n * SECOND // 10 for n in range(8)] and not warnings


def test_names_that_are_numbers_are_no_times(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(12)])
    (tmp_path / "times.txt").write_text("\n".join(f"{n * 0.05:.2f} {n}" for n in sorted(range(12), key=str)))
    stamps, decoded, _ = read(images)
    assert stamps == [n * 50_000_000 for n in range(12)]
    np.testing.assert_array_equal(decoded, panning_images(12))


def test_a_file_of_times_that_names_only_some_images_is_not_used(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(4)])
    (tmp_path / "times.txt").write_text("\n".join(f"{n}.png {n * 0.05:.2f}" for n in (0, 1, 3, 4)))
    stamps, _, warnings = read(images)
    assert stamps == [n * ASSUMED_INTERVAL for n in range(4)]
    assert "3 times in 3 lines, but 4 images" in warnings[0]


@pytest.mark.parametrize("digits", [4, 10, 13, 16, 19, 25])
def test_a_counter_is_no_time_however_long_it_is(tmp_path: Path, digits: int) -> None:
    images = write_images(tmp_path / "stills", [f"frame{n:0{digits}d}.png" for n in (10, 20, 30, 70)])
    stamps, _, warnings = read(images)
    assert stamps == [number * ASSUMED_INTERVAL for number in (0, 1, 2, 6)]  # what is missing leaves a gap
    assert len(warnings) == 1 and "30 Hz is assumed" in warnings[0]


@pytest.mark.parametrize("start", [50_000_000, 1_234_567_890_123, 98_765_432_101_234])
def test_nanoseconds_since_the_start_of_the_computer_are_times(tmp_path: Path, start: int) -> None:
    expected = [start + n * 50_000_000 for n in range(4)]
    stamps, _, warnings = read(write_images(tmp_path / "stills", [f"{stamp}.png" for stamp in expected]))
    assert stamps == expected and not warnings


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("1.cr2", "2.cr2", "notes"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FrameSourceError, match=r"neither a bag nor images.*2 with \.cr2, 1 with no ending"):
        read(tmp_path)
    (tmp_path / "drive.mp4").write_bytes(b"x")
    with pytest.raises(FrameSourceError, match=r"Name one of its videos, such as .*drive\.mp4"):
        read(tmp_path)


def test_one_odd_name_does_not_void_the_stamps_of_a_folder(tmp_path: Path) -> None:
    stills = write_images(tmp_path / "stills", [*(f"{stamp}.png" for stamp in regular_stamps(4)), "calibration.png"])
    stamps, _, warnings = read(stills)
    assert stamps == regular_stamps(4)
    assert len(warnings) == 1 and "calibration.png" in warnings[0]


def stamps_and_times(steps: list[int], interval: int = 50_000_000) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([10**18, *steps]), START + interval * np.arange(len(steps) + 1)


@settings(max_examples=100)
@given(st.lists(st.integers(40_000_000, 60_000_000), min_size=4, max_size=100), st.integers(0, 2 * 10**18))
def test_regular_stamps_of_any_clock_are_trusted(steps: list[int], offset: int) -> None:
    stamps, times = stamps_and_times(steps)
    assert why_not_trusted(stamps - 10**18 + offset + 1, times) is None


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([0] * 20, "one and the same"),
        ([50_000_000, -50_000_000] * 10, "repeat or go back"),
        ([0, 100_000_000] * 10, "repeat or go back"),
        ([50_000] * 20, "0.001 times as fast"),
        ([50_000_000_000] * 20, "1e+03 times as fast"),
    ],
)
def test_stamps_in_disorder_are_not_trusted(steps: list[int], reason: str) -> None:
    assert reason in (why_not_trusted(*stamps_and_times(steps)) or "")


def test_a_looping_bag_and_a_twin_stamp_are_trusted() -> None:
    assert why_not_trusted(*stamps_and_times([50_000_000] * 9 + [-450_000_000] + [50_000_000] * 9)) is None
    assert why_not_trusted(*stamps_and_times([50_000_000] * 4 + [0] + [50_000_000] * 9)) is None
    assert "no time stamp" in (why_not_trusted(np.zeros(9, np.int64), np.arange(9)) or "")


@pytest.mark.parametrize("recorded", [1, 50_000], ids=["numbers", "microseconds"])
def test_stamps_are_trusted_where_the_times_of_recording_are_no_times(recorded: int) -> None:
    """As some programs write MCAP: with the numbers of the messages, or with times in another unit than ns."""
    assert why_not_trusted(np.arange(20) * 50_000_000, np.arange(20) * recorded) is None
    assert why_not_trusted(np.arange(20) * recorded, np.arange(20) * 50_000_000) is not None


def test_constant_stamps_give_way_to_the_time_of_recording(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    definition, _ = ROS2.generate_msgdef(IMAGE)
    channel = file.channel("/camera/image_raw", "cdr", IMAGE, "ros2msg", definition.encode())
    for n, image in enumerate(panning_images(6)):
        file.message(channel, START + n * INTERVAL, bytes(ROS2.serialize_cdr(image_message(ROS2, START, image), IMAGE)))
    stamps, _, warnings = read(file.finish())
    assert stamps == regular_stamps(6)
    assert "one and the same stamp, a fault of the camera driver" in warnings[0]


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    """Such as those of files from an old Windows. OpenCV ends the process at such a name, and SQLite refuses it."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    images = write_images(folder / "images", [f"{number}.tif" for number in range(3)])
    write_ros2(tmp_path / "drive", panning_images(3), storage=StoragePlugin.SQLITE3)
    (tmp_path / "drive").rename(folder / "drive")
    for source in (images, folder / "drive"):
        _, read_images, warnings = read(source)
        np.testing.assert_array_equal(read_images, panning_images(3))
        assert not any("damaged" in warning for warning in warnings)


def test_messages_that_a_merged_bag_holds_twice_are_read_once(tmp_path: Path) -> None:
    """The copy was recorded by another recorder, a moment later: neither stamp repeats by the driver's fault."""
    file = McapFile(tmp_path / "merged.mcap")
    definition, _ = ROS2.generate_msgdef(IMAGE)
    channel = file.channel("/camera/image_raw", "cdr", IMAGE, "ros2msg", definition.encode())
    images = panning_images(6)
    for stamp, image in zip(regular_stamps(6), images, strict=True):
        data = bytes(ROS2.serialize_cdr(image_message(ROS2, stamp, image), IMAGE))
        for delay in (0, 5_000_000):
            file.message(channel, stamp + delay, data)
    stamps, read_images, warnings = read(file.finish())
    assert stamps == regular_stamps(6)
    np.testing.assert_array_equal(read_images, images)
    assert len(warnings) == 1
    assert "6 messages of /camera/image_raw are copies" in warnings[0]


@pytest.mark.parametrize("stamp", [0, START])
def test_a_still_scene_without_usable_stamps_is_no_copy(tmp_path: Path, stamp: int) -> None:
    still = panning_images(1) * 6
    stamps, _, warnings = read(write_ros2(tmp_path / "drive", still, stamps=[stamp] * 6))
    assert stamps == regular_stamps(6)
    assert "a fault of the camera driver" in warnings[0]


def battery_bag(path: Path, other_encoding: bool = False, language: str = "ros2msg") -> Path:
    definition = BATTERY if language == "ros2msg" else BATTERY_IDL
    file = McapFile(path)
    add_images(file, panning_images(6))
    battery = file.channel("/battery", "cdr", "my_robot_msgs/msg/Battery", language, definition)
    for n in range(6):
        file.message(battery, START + n * INTERVAL, b"\0\1\0\0" + bytes([n] * 8))
    if other_encoding:
        file.message(file.channel("/log", "json", "Log", "jsonschema", b"{}"), START, b"{}")
    return file.finish()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("other_encoding", [False, True])
def test_repair_keeps_own_types_byte_for_byte(
    tmp_path: Path, storage: str, other_encoding: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = battery_bag(tmp_path / "cut.mcap", other_encoding)
    bag.write_bytes(bag.read_bytes()[:-20])
    status = repair([str(bag), "--out", str(tmp_path / "repaired"), "--storage", storage])
    assert status == (INCOMPLETE if other_encoding else 0)
    if other_encoding:
        assert "1 messages of /log: it is encoded as json" in capsys.readouterr().err
    with Reader(tmp_path / "repaired") as reader:
        messages = [(connection, bytes(data)) for connection, _, data in reader.messages()]
    battery = [data for connection, data in messages if connection.topic == "/battery"]
    assert battery == [b"\0\1\0\0" + bytes([n] * 8) for n in range(6)]
    assert len(messages) == 12
    (connection,) = {c.id: c for c, _ in messages if c.topic == "/battery"}.values()
    if storage == "mcap":
        assert connection.msgdef.data.encode() == BATTERY


@pytest.mark.parametrize("language", ["ros2msg", "ros2idl"])
@pytest.mark.parametrize("damaged", ["mcap", "sqlite3"])
def test_repair_keeps_own_types_in_any_language_from_any_file(tmp_path: Path, damaged: str, language: str) -> None:
    bag = battery_bag(tmp_path / "cut.mcap", language=language)
    if damaged == "sqlite3":
        assert repair([str(bag), "--out", str(tmp_path / "whole"), "--storage", "sqlite3"]) == 0
        (bag,) = (tmp_path / "whole").glob("*.db3")
        bag.with_name(f"{bag.name}-wal").write_bytes(b"left by a killed recorder")
    else:
        bag.write_bytes(bag.read_bytes()[:-20])
    assert repair([str(bag), "--out", str(tmp_path / "repaired")]) == 0
    with Reader(tmp_path / "repaired") as reader:
        assert {c.topic: c.msgcount for c in reader.connections} == {"/camera/image_raw": 6, "/battery": 6}
        (definition,) = (c.msgdef for c in reader.connections if c.topic == "/battery")
    assert definition.data.encode() == (BATTERY if language == "ros2msg" else BATTERY_IDL)


def test_repair_without_a_definition_is_no_success(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "drive.mcap")
    add_images(file, panning_images(2))
    file.message(file.channel("/battery", "cdr", "my_robot_msgs/msg/Battery", ""), START, b"\0\1\0\0" + bytes(8))
    assert repair([str(file.finish()), "--out", str(tmp_path / "repaired")]) == INCOMPLETE


def test_a_video_keeps_its_own_times(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="writes the video")
    path = tmp_path / "gap.mkv"
    times = [*range(0, 500, 50), *range(2500, 3000, 50), 3010, 3090]  # ms
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for time, image in zip(times, panning_images(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = time, stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    stamps, _, _ = read(path)
    np.testing.assert_allclose(np.array(stamps) / 1e6 - stamps[0] / 1e6, times, atol=2)


def test_summaries_keep_their_format(tmp_path: Path) -> None:
    pytest.importorskip("pydantic")
    from mdflow_training.commands.frame_source import main

    stills = write_images(tmp_path / "stills", [f"{stamp}.png" for stamp in regular_stamps(12)])
    assert main([str(stills), "--out", str(tmp_path / "frames")]) == 0
    (summary,) = (tmp_path / "frames").glob("*/summary.json")
    assert json.loads(summary.read_text())["losses"] == []


def folder_of_parts(tmp_path: Path, images: list[np.ndarray]) -> Path:
    """A folder of two sound parts."""
    folder = tmp_path / "drive"
    folder.mkdir()
    half = len(images) // 2
    for number, part in enumerate((images[:half], images[half:])):
        bag = write_ros2(tmp_path / f"part{number}", part, regular_stamps(len(images))[number * half :][: len(part)])
        (bag / f"part{number}.mcap").rename(folder / f"drive_{number}.mcap")
    return folder


@pytest.mark.parametrize("broken", ["empty", "pointer", "link"])
def test_a_part_that_holds_nothing_does_not_cost_the_others(tmp_path: Path, broken: str) -> None:
    images = panning_images(8)
    folder = folder_of_parts(tmp_path, images)
    third = folder / "drive_2.mcap"
    if broken == "link":
        third.symlink_to(tmp_path / "nowhere")
    else:
        third.write_text(LFS_POINTER if broken == "pointer" else "")
    stamps, _, warnings = read(folder)
    assert stamps == regular_stamps(8)
    assert len(warnings) == 1 and "drive_2.mcap is" in warnings[0] and "the other files are read" in warnings[0]
    assert repair([str(folder), "--out", str(tmp_path / "repaired")]) == 0
    assert read(tmp_path / "repaired")[0] == regular_stamps(8)
    for part in folder.glob("drive_[01].mcap"):
        part.unlink()
    with pytest.raises(FrameSourceError, match=r"drive_2\.mcap is"):
        read(folder)


def test_an_unpacked_copy_is_not_read_twice(tmp_path: Path) -> None:
    images = panning_images(6)
    bag = write_ros2(tmp_path / "bag", images, storage=StoragePlugin.SQLITE3, compression=CompressionMode.FILE)
    (packed,) = bag.glob("*.zstd")
    packed.with_suffix("").write_bytes(zstd.decompress(packed.read_bytes()))
    stamps, _, warnings = read(bag)
    assert stamps == regular_stamps(6)
    assert len(warnings) == 1 and "holds the same" in warnings[0]


def test_compressed_files_that_are_listed_without_their_ending_are_found(tmp_path: Path) -> None:
    bag = write_ros2(tmp_path / "bag", panning_images(6), compression=CompressionMode.FILE)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(".mcap.zstd", ".mcap"))
    stamps, _, warnings = read(bag)
    assert (stamps, warnings) == (regular_stamps(6), [])


def test_parts_that_were_listed_on_windows_are_found(tmp_path: Path) -> None:
    bag = write_ros2(tmp_path / "bag", panning_images(6))
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- bag.mcap", "- 'drives\\bag.mcap'"))
    assert "drives\\bag" in metadata.read_text()
    stamps, _, warnings = read(bag)
    assert (stamps, warnings) == (regular_stamps(6), [])


def test_folders_may_be_named_like_files(tmp_path: Path) -> None:
    bag = write_ros2(tmp_path / "runs" / "drive.mcap", panning_images(5))
    assert read(bag)[0] == read(bag.parent)[0] == regular_stamps(5)
    images = write_images(tmp_path / "images", [f"{n:04d}.png" for n in range(4)])
    (images / "0004.png").mkdir()
    assert len(read(images)[0]) == 4


def test_an_empty_first_image_costs_one_frame(tmp_path: Path) -> None:
    folder = write_images(tmp_path, [f"{n:04d}.png" for n in range(4)])
    (folder / "0000.png").write_bytes(b"")
    frames = [frame for _, frame in parse_source(str(folder)).frames([])]
    with pytest.raises(ValueError, match="they are empty"):
        frames[0].decode()
    np.testing.assert_array_equal([frame.decode() for frame in frames[1:]], panning_images(4)[1:])
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(FrameSourceError, match="is empty"):
        read(folder)


def test_images_that_are_not_read_are_told_with_what_to_do(tmp_path: Path) -> None:
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "1.jpg.d"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(
        FrameSourceError, match=r"2 with \.HEIC.*convert the others to PNG or JPEG, for example with `heif-convert`"
    ):
        read(tmp_path)
    single = write_images(tmp_path / "stills", ["1.png"]) / "1.png"
    with pytest.raises(FrameSourceError, match=r"1\.png is not a folder; to read images, name the folder"):
        read(f"images:{single}")


def test_a_link_to_nothing_is_one_frame_that_cannot_be_decoded(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", [f"{n:04d}.png" for n in range(1, 5)])
    for name in ("0000.png", "0005.png"):
        (folder / name).symlink_to(tmp_path / "nowhere")
    frames = [frame for _, frame in parse_source(str(folder)).frames([])]
    assert len(frames) == 6
    with pytest.raises(ValueError, match=r"0000\.png cannot be read: No such file.*git annex get"):
        frames[0].decode()
    assert frames[1].decode().shape[2] == 3


def test_a_glob_is_expanded_below_folders_of_any_name(tmp_path: Path) -> None:
    write_ros2(tmp_path / "run [left] *" / "drive", panning_images(3))
    assert read(f"{tmp_path}/run [left] */d*")[0] == regular_stamps(3)
    assert read(f"{tmp_path}/run*/**/*.mcap#/camera/image_raw")[0] == regular_stamps(3)


def test_a_glob_of_several_kinds_is_refused(tmp_path: Path) -> None:
    write_ros2(tmp_path / "b_bag", panning_images(2))
    write_images(tmp_path / "a_images", ["0.png", "1.png"])
    with pytest.raises(FrameSourceError, match=r"a_images is of kind 'images', but .*b_bag is of kind 'bag'"):
        parse_source(str(tmp_path / "*"))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("metadata.yaml", b"rosbag2_bagfile_information: {}", "describes a bag: name its folder"),
        ("drive.bag.gz", b"\x1f\x8b\x08", "unpack it with `gunzip` first"),
        ("rtsp://camera/stream", None, "streams are not read"),
        ("0001.png", b"\x89PNG\r\n\x1a\n", "is one image: name its folder"),
        ("0002.png", LFS_POINTER.encode(), "is a Git LFS pointer"),
        ("drive/%04d.png", None, "to read images, name their folder"),
        ("DRIVE.MCAP", b"\x89MCAP0\r\n", "rename the bag so that its ending is in lower case"),
    ],
)
def test_what_is_not_a_recording_is_told_with_what_to_do(
    tmp_path: Path, name: str, content: bytes | None, error: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
        name = str(tmp_path / name)
    with pytest.raises(FrameSourceError, match=error):
        parse_source(name)


@pytest.mark.parametrize("pattern", ["{}.{}.png", "cam_{}.{}.png"])
def test_nanoseconds_without_leading_zeros_are_in_order(tmp_path: Path, pattern: str) -> None:
    expected = [START + n * 50_000_000 for n in range(30)]
    folder = write_images(tmp_path / "images", [pattern.format(*divmod(stamp, 10**9)) for stamp in expected])
    assert read(folder)[0] == expected


def test_times_in_a_file_may_lack_leading_zeros(tmp_path: Path) -> None:
    expected = [START + n * 50_000_000 for n in range(30)]
    folder = write_images(tmp_path / "images", [f"{n:04d}.png" for n in range(30)])
    (folder / "times.txt").write_text("".join(f"{stamp // 10**9}.{stamp % 10**9}\n" for stamp in expected))
    assert read(folder)[0] == expected


@pytest.mark.parametrize("start", [1_581_624_663_149.25, 35_012.75], ids=["since 1970", "since the camera was started"])
def test_milliseconds_with_decimals_are_times(tmp_path: Path, start: float) -> None:
    # RealSense's frame.get_timestamp()
    folder = write_images(tmp_path / "images", [f"{start + n * 33.25}.png" for n in range(30)])
    stamps, _, warnings = read(folder)
    assert np.diff(stamps).tolist() == [33_250_000] * 29 and not warnings
    assert stamps[0] == int(start * 4) * 250_000


def test_times_beyond_64_bits_are_no_times(tmp_path: Path) -> None:
    stamps, _, warnings = read(write_images(tmp_path / "images", [f"{10**23 + n}.25.png" for n in range(4)]))
    assert max(stamps) < 2**63 and "30 Hz is assumed" in warnings[0]


def test_decimals_of_different_lengths_stay_decimals(tmp_path: Path) -> None:
    times = [1_700_000_000 + n / 20 for n in range(30)]
    folder = write_images(tmp_path / "images", [f"{time}.png" for time in times])
    assert read(folder)[0] == [round(time * 100) * 10**7 for time in times]


def test_messages_that_overtook_one_another_are_put_in_order(tmp_path: Path) -> None:
    images, stamps = panning_images(24), regular_stamps(24)
    order = [0, 2, 1, 3, 4, 7, 5, 6, *range(8, 22), 23, 22]
    bag = write_ros2(tmp_path / "bag", [images[n] for n in order], [stamps[n] for n in order])
    found, frames, warnings = read(bag)
    assert found == stamps
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame, image)
    assert len(warnings) == 1 and "4 messages of /camera/image_raw were recorded out of the order" in warnings[0]


def test_a_bag_that_loops_is_not_put_in_order(tmp_path: Path) -> None:
    stamps = [START + n * 10**8 for n in range(10)] * 2
    bag = write_ros2(tmp_path / "bag", panning_images(20), stamps)
    found, _, warnings = read(bag)
    assert (found, warnings) == (stamps, [])


@pytest.mark.parametrize("factor", [0.1, 0.2, 5, 20])
def test_a_slow_simulation_or_a_fast_replay_keeps_its_stamps(factor: float) -> None:
    assert why_not_trusted(*stamps_and_times([50_000_000] * 20, round(50_000_000 * factor))) is None


@pytest.mark.parametrize(("left", "right"), [("left", "right"), ("cam0", "cam1")])
def test_cameras_that_are_not_synchronized_are_told_apart(tmp_path: Path, left: str, right: str) -> None:
    for number, image in enumerate(panning_images(8)):
        stamp = START + number * INTERVAL
        cv2.imwrite(str(tmp_path / f"{left}_{stamp}.png"), image)
        cv2.imwrite(str(tmp_path / f"{right}_{stamp + 11_000_000}.png"), image)
    warnings: list[str] = []
    streams = [camera for camera, _ in parse_source(str(tmp_path)).frames(warnings)]
    assert streams == [str(tmp_path / f"{left}_#.png")] * 8 + [str(tmp_path / f"{right}_#.png")] * 8
    assert "2 cameras" in warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "cam_{n:04d}.png",
        "camera{n}.png",
        "cam0_{n:04d}.png",
        "{half:06d}_1{odd}.png",
        "cam_{second}_{fraction:03d}.png",
        "17000000{n:02d}000_{odd}.png",
        "170000000{odd}000_{half:02d}.png",
    ],
)
def test_numbers_of_one_camera_s_images_make_no_second_camera(tmp_path: Path, name: str) -> None:
    names = [
        name.format(n=n, half=n // 2, odd=n % 2, second=1_700_000_000 + n // 10, fraction=n % 10 * 100)
        for n in range(20)
    ]
    images = write_images(tmp_path, names)
    assert {camera for camera, _ in parse_source(str(images)).frames([])} == {str(tmp_path)}


def test_clips_that_follow_one_another_are_one_camera(tmp_path: Path) -> None:
    write_images(tmp_path, [f"a_{n:03d}.png" for n in range(4)] + [f"b_{n:03d}.png" for n in range(4, 8)])
    assert {camera for camera, _ in parse_source(str(tmp_path)).frames([])} == {str(tmp_path)}


@pytest.mark.parametrize(("digits", "unit"), [(3, 10**6), (6, 10**3)])
@pytest.mark.parametrize("padded", [True, False])
def test_the_second_number_of_a_name_may_be_milliseconds(tmp_path: Path, digits: int, unit: int, padded: bool) -> None:
    times = [(1581624663 + n // 10, n % 10 * 10 ** (digits - 1)) for n in range(5, 25)]
    names = [f"frame{n:06d}-{s}_{part:0{digits if padded else 1}d}.jpg" for n, (s, part) in enumerate(times, 104)]
    stamps, _, warnings = read(write_images(tmp_path, names))
    assert stamps == [s * 10**9 + part * unit for s, part in times] and not warnings


@pytest.mark.parametrize(
    "lines",
    [
        ["0", "33.333", "66.667", "100"],
        ["0", "33333", "66667", "100000"],
        ["0", "33333333", "66666667", "100000000"],
        ["\ufefftime", "0", "0.033333", "0.066667", "0.1"],
        ["time,,", "0,,", "0.033333,,", "0.066667,,", "0.1,,", ",,"],
    ],
    ids=["ms", "us", "ns", "header", "spreadsheet"],
)
def test_times_in_a_file_may_have_another_unit_or_a_header(tmp_path: Path, lines: list[str]) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(4)])
    (tmp_path / "times.txt").write_text("\n".join(lines))
    stamps, _, warnings = read(images)
    assert np.diff(stamps) == pytest.approx([1e9 / 30] * 3, abs=1e6) and not warnings


@pytest.mark.parametrize(
    "lines",
    [
        ["0,900", "1,000", "1,100", "1,200"],
        [f"{n};0,{100 * n}" for n in range(4)],
        [f"{0.1 * n:.1f} {exposure}" for n, exposure in enumerate((8.1, 8.3, 8.2, 8.1))],
        [f"{1305031102 + 0.1 * n:.1f} {n}" for n in range(4)],
        ["frame,exposure,time", *(f"{n},{8000 + n % 2},{5 + 0.1 * n:.1f}" for n in range(4))],
        [f"a{n}.png,{8.1 + n % 2 / 10},{5 + 0.1 * n:.1f}" for n in range(4)],
        ['"name","time"', *(f'"a{n}.png","{5 + 0.1 * n:.1f}"' for n in range(4))],
        ["sec,nanosec", *(f"{1305031102 + (8 + n) // 10},{(8 + n) % 10 * 10**8}" for n in range(4))],
        [f"a{n}.png {1305031102 + (8 + n) // 10} {(8 + n) % 10 * 10**8}" for n in range(4)],
    ],
    ids=[
        *("decimal comma", "columns and decimal comma", "exposure", "number behind the time", "number, exposure, time"),
        *("name, exposure, time", "quotes", "seconds and nanoseconds", "name, seconds and nanoseconds"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_times_stand_in_any_column_and_spelling(tmp_path: Path, lines: list[str], encoding: str) -> None:
    images = write_images(tmp_path / "data", [f"a{n}.png" for n in range(4)])
    (tmp_path / "times.txt").write_text("\n".join(lines), encoding)
    stamps, _, warnings = read(images)
    assert np.diff(stamps).tolist() == [SECOND // 10] * 3 and not warnings


def test_images_keep_their_order_where_the_clock_was_set_back(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(8)])
    (tmp_path / "times.txt").write_text("\n".join(f"{5 + 0.1 * n - 0.15 * (n > 3):.2f}" for n in range(8)))
    stamps, shown, _ = read(images)
    np.testing.assert_array_equal(shown, panning_images(8))
    assert sum(np.diff(stamps) < 0) == 1


def test_times_that_go_back_again_and_again_are_not_used(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(8)])
    (tmp_path / "times.txt").write_text("\n".join(f"{0.1 * (n % 2):.1f}" for n in range(8)))
    assert "times.txt is not used: its times repeat or go back" in read(images)[2][0]


def test_implausible_times_in_a_file_are_named(tmp_path: Path) -> None:
    images = write_images(tmp_path / "data", [f"{n}.png" for n in range(3)])
    (tmp_path / "times.txt").write_text("0.0001\n0.0002\n0.0003\n")
    assert "too close together or too far apart" in read(images)[2][0]


def test_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    write_ros2(tmp_path / "usb" / "drive", panning_images(5))
    write_ros2(tmp_path / "usb" / ".Trash-1000" / "old", panning_images(7))
    assert len(read(tmp_path / "usb")[0]) == 5
    write_images(tmp_path / ".hidden" / "rgb", ["1.png", "2.png"])
    write_images(tmp_path / ".hidden" / ".thumbnails" / "normal", ["1.png", "2.png"])
    assert len(read(tmp_path / ".hidden")[0]) == 2, "a folder that is named may be hidden"


@pytest.mark.parametrize("folder", ["a#b", "a?b", "a%23b", "50%"])
def test_sqlite_is_read_below_every_folder(tmp_path: Path, folder: str) -> None:
    plain = write_ros2(tmp_path / "bag", panning_images(4), storage=StoragePlugin.SQLITE3)
    (tmp_path / folder).mkdir()
    stamps, _, warnings = read(f"bag:{plain.rename(tmp_path / folder / 'bag')}")
    assert len(stamps) == 4 and not warnings


def test_a_topic_without_a_slash_can_be_chosen(tmp_path: Path) -> None:
    first, second = write_ros1_topics(tmp_path / "two.bag", ["cam0/image_raw", "cam1/image_raw"])
    for name in (first, f"/{first}", second):
        assert len(read(f"{tmp_path / 'two.bag'}#{name}")[0]) == 3


def write_ros1_topics(path: Path, topics: list[str]) -> list[str]:
    with Ros1Writer(path) as writer:
        for topic in topics:
            connection = writer.add_connection(topic, IMAGE, typestore=ROS1)
            for stamp, image in zip(regular_stamps(3), panning_images(3), strict=True):
                writer.write(connection, stamp, ROS1.serialize_ros1(image_message(ROS1, stamp, image), IMAGE))
    return topics


def test_the_home_folder_is_found_behind_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_ros2(tmp_path / "drive", panning_images(3))
    assert len(read("bag:~/drive")[0]) == 3


def test_stacks_of_pictures_are_told(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "1.tif"), panning_images(3))
    _, images, warnings = read(tmp_path)
    assert len(images) == 1 and "1.tif holds 3 pages; only the first of each file is read" in warnings[-1]


def test_few_images_of_a_bag_are_in_memory_at_once(tmp_path: Path) -> None:
    image = np.zeros((1200, 1600, 3), np.uint8)
    bag = write_ros2(tmp_path / "bag", [image] * 60)
    tracemalloc.start()
    next(iter(parse_source(str(bag)).frames([])))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 45 * image.nbytes  # those of half a second, which are put in order, and their messages


@pytest.mark.parametrize(("rate", "unit"), [(1000, 1), (800, 1000)])
def test_cameras_may_be_fast(tmp_path: Path, rate: int, unit: int) -> None:
    names = [f"{(START + number * 10**9 // rate) // unit}.png" for number in range(8)]
    assert np.diff(read(write_images(tmp_path, names))[0]) == pytest.approx([1e9 / rate] * 7, abs=1000)
