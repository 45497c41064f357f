# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What to change when images do not arrive, from what is set in this process."""

from __future__ import annotations

import re
from collections.abc import Mapping

LARGE_DATA = "LARGE_DATA?max_msg_size=4MB&sockets_size=64MB"
"""Value of FASTDDS_BUILTIN_TRANSPORTS that lets 4K images through."""

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
    sizes = {key: _bytes(value) for key, value in re.findall(r"(\w+)=(\w+)", options)}
    needed = image_bytes or 64 * UNITS["MB"]
    if sizes.get("sockets_size", 0) < needed:
        return (
            f"{VARIABLE}={setting} has buffers too small for images of {needed / UNITS['MB']:.0f} MB: raise "
            f"sockets_size, for example {VARIABLE}='{LARGE_DATA}' {BOTH_SIDES}"
        )
    return f"does the camera's process have {VARIABLE}={setting} as this one has? Processes that differ do not meet"


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?B?)", text.upper())
    return int(match[1]) * UNITS.get(match[2], 1) if match else 0
