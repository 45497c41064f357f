# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from mdflow_ros.node.transport import large_data, transport_advice

SET = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?sockets_size=16MB"}


def advice(environment: dict[str, str], image_bytes: int = 0, reliable: bool = False) -> str:
    return transport_advice(environment, "rmw_fastrtps_cpp", image_bytes, reliable)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [("humble", "LARGE_DATA"), ("iron", "LARGE_DATA"), ("jazzy", "LARGE_DATA?sockets_size=16MB")],
)
def test_the_value_is_one_that_the_distribution_understands(distribution: str, value: str) -> None:
    environment = {"ROS_DISTRO": distribution}
    assert large_data(environment) == value
    assert f"set FASTDDS_BUILTIN_TRANSPORTS='{value}'" in advice(environment)


def test_an_option_that_humble_does_not_take_is_named() -> None:
    assert "takes no options" in advice({**SET, "ROS_DISTRO": "humble"})
    assert "takes no options" not in advice({**SET, "ROS_DISTRO": "jazzy"})
    plain = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA", "ROS_DISTRO": "humble"}
    assert "in the camera's process too" in advice(plain, image_bytes=10**8)


@pytest.mark.parametrize("local", [{"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {"ROS_LOCALHOST_ONLY": "1"}])
def test_what_keeps_ros_on_this_machine_switches_the_transport_off(local: dict[str, str]) -> None:
    assert f"{next(iter(local))}=" in advice({**SET, **local})
    assert "unset it" in advice({**SET, **local})


def test_buffers_fit_the_image() -> None:
    assert "in the camera's process too" in advice(SET, image_bytes=3 * 640 * 480)
    assert "sockets_size=48MB" in advice(SET, image_bytes=96 * 1024**2)


@pytest.mark.parametrize(("size", "fits"), [("16MB", True), ("16M", True), ("1g", True), ("16K", False), ("16", False)])
def test_a_unit_may_lack_its_b(size: str, fits: bool) -> None:
    setting = {**SET, "FASTDDS_BUILTIN_TRANSPORTS": f"LARGE_DATA?sockets_size={size}"}
    assert ("buffers too small" not in advice(setting)) == fits


def test_a_reliable_camera_is_not_asked_to_be_reliable() -> None:
    assert "publish them as reliable" in advice({})
    assert "publish them as reliable" not in advice({}, reliable=True)
