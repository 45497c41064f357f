# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A bag describes the messages of the types that are installed, not of another distribution's."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mdflow_ros.recordings.message_definitions import installed_definition
from mdflow_ros.recordings.writer import STORAGES, BagWriter, Storage


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    return tmp_path


def install(prefix: Path, package: str, **types: str) -> None:
    folder = prefix / "share" / package / "msg"
    folder.mkdir(parents=True)
    for name, text in types.items():
        (folder / f"{name}.msg").write_text(text)


def test_a_definition_holds_all_types_that_it_is_made_of(prefix: Path) -> None:
    install(prefix, "builtin", Time="int32 sec\nuint32 nanosec\n")
    install(
        prefix,
        "robot_msgs",
        Wheel="# Its speed\nfloat64 speed  # rad/s\nbuiltin/Time stamp\nstring<=10 name\nuint8 FRONT=1\n",
        State="Wheel[4] wheels\nWheel[<=2] spare\nbuiltin/Time stamp\nbyte[] rest\nfloat64[36] covariance\n",
    )
    definition = installed_definition("robot_msgs/msg/State")
    assert definition.startswith("Wheel[4] wheels")
    assert definition.count("MSG: robot_msgs/Wheel") == definition.count("MSG: builtin/Time") == 1
    types = get_types_from_msg(definition, "robot_msgs/msg/State")
    assert set(types) == {"robot_msgs/msg/State", "robot_msgs/msg/Wheel", "builtin/msg/Time"}


def test_a_type_that_is_not_installed_has_none(prefix: Path) -> None:
    install(prefix, "robot_msgs", State="other_msgs/Wheel wheel\n")
    assert installed_definition("robot_msgs/msg/State") == installed_definition("robot_msgs/msg/Other") == ""


@pytest.mark.parametrize("storage", STORAGES)
def test_a_message_is_decoded_by_the_definition_in_its_bag(prefix: Path, storage: Storage) -> None:
    """Range has one field more since Iron."""
    humble = get_typestore(Stores.ROS2_HUMBLE)
    type_name, types = "sensor_msgs/msg/Range", humble.types
    for name in (type_name, "std_msgs/msg/Header", "builtin_interfaces/msg/Time"):
        package, _, short = name.partition("/msg/")
        install(prefix, package, **{short: humble.generate_msgdef(name, ros_version=2)[0].partition("=====")[0]})
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](5, 0), "range")
    message = types[type_name](header, 1, 0.1, 0.2, 5.0, 1.5)
    writer = BagWriter(prefix / "drive", storage)
    writer.add_topic("/range", type_name, definition=installed_definition(type_name))
    writer.write("/range", 5 * 10**9, bytes(humble.serialize_cdr(message, type_name)))
    writer.close()
    with Reader(prefix / "drive") as reader:
        ((connection, _, data),) = reader.messages()
    of_the_bag = get_typestore(Stores.EMPTY)
    of_the_bag.register(get_types_from_msg(connection.msgdef.data, type_name))
    assert of_the_bag.deserialize_cdr(data, type_name).range == 1.5
