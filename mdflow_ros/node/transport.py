# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What to change when images do not arrive, from what is set in this process."""

from __future__ import annotations

import re
from collections.abc import Mapping

LARGE_DATA = "LARGE_DATA?sockets_size=16MB"
"""Value of FASTDDS_BUILTIN_TRANSPORTS with which 4K images arrive.

Without max_msg_size: with it, Fast DDS 2.14 (jazzy) cuts some messages above 64 KB by their last bytes, always the same
ones, and the reader reports "sequence size exceeds remaining buffer".
"""

MIN_SOCKETS_SIZE = 16 * 1024**2
"""Measured: with 16 MB, reliable and best-effort images of 25 MB (4K) arrive; with 4 MB, some of 11 MB do not."""

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
BOTH_SIDES = "in the camera's process and in this one"
UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def transport_advice(environment: Mapping[str, str], middleware: str, image_bytes: int, reliable: bool) -> str:
    """Return what to do about images that are published and do not arrive.

    Args:
        environment: variables of this process.
        middleware: identifier of the RMW implementation.
        image_bytes: size of an image, or 0 if unknown.
        reliable: whether the images come over a reliable connection.
    """
    if "fastrtps" not in middleware:
        return f"large images may exceed the limits of {middleware}; see its documentation on large messages"
    if environment.get("FASTRTPS_DEFAULT_PROFILES_FILE") or environment.get("FASTDDS_DEFAULT_PROFILES_FILE"):
        return "the Fast DDS profile file that is set here decides the transport; check that it fits large images"
    setting = environment.get(VARIABLE, "")
    name, _, options = setting.partition("?")
    if name in ("", "DEFAULT"):
        way_out = f"set {VARIABLE}='{LARGE_DATA}' {BOTH_SIDES}"
        if reliable:
            return f"does the camera's process use the default transport as this one does? If it does, {way_out}"
        return f"the default transport loses large best-effort images: publish them as reliable, or {way_out}"
    if environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") == "LOCALHOST":
        return f"ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST makes Fast DDS ignore {VARIABLE}: unset it {BOTH_SIDES}"
    if "max_msg_size" in options:
        return (
            f"{VARIABLE}={setting} loses messages with Fast DDS 2.14 because of max_msg_size: set "
            f"{VARIABLE}='{LARGE_DATA}' {BOTH_SIDES}"
        )
    sizes = {key: _bytes(value) for key, value in re.findall(r"(\w+)=(\w+)", options)}
    needed = max(MIN_SOCKETS_SIZE, image_bytes // 2)
    if sizes.get("sockets_size", 0) < needed:
        megabytes = -(-needed // UNITS["MB"])
        return (
            f"{VARIABLE}={setting} has buffers too small for these images: set "
            f"{VARIABLE}='{name}?sockets_size={megabytes}MB' {BOTH_SIDES}"
        )
    return f"does the camera's process have {VARIABLE}={setting} as this one has? Processes that differ do not meet"


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?B?)", text.upper())
    return int(match[1]) * UNITS.get(match[2], 1) if match else 0
