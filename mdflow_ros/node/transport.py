# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Advice for images that do not arrive, from the DDS settings of this process."""

from __future__ import annotations

import re
from collections.abc import Mapping

LARGE_DATA = "LARGE_DATA?sockets_size=16MB"
"""Value of FASTDDS_BUILTIN_TRANSPORTS with which 4K images arrive; see `large_data`.

It does not set max_msg_size: with that option, Fast DDS 2.14 (jazzy) always drops the last bytes of certain messages
above 64 KB, and the reader reports "sequence size exceeds remaining buffer".
"""

WITHOUT_OPTIONS = ("humble", "iron")
"""Distributions with a Fast DDS (2.6 from 2.6.7 on, 2.10) that knows LARGE_DATA, but none of its options."""

MIN_SOCKETS_SIZE = 16 * 1024**2
"""Measured: with 16 MB, reliable and best-effort images of 25 MB (4K) arrive; with 4 MB, some of 11 MB do not."""

BUILTIN_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
BOTH_SIDES = "in the camera's process and in this one"
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def large_data(environment: Mapping[str, str]) -> str:
    """Return the value of FASTDDS_BUILTIN_TRANSPORTS for large images.

    A Fast DDS that does not know an option logs an error and uses the default transport (RTPSParticipantImpl.cpp in the
    sources of 2.6 and 2.10).

    Args:
        environment: variables of this process; ROS_DISTRO names the distribution.
    """
    return LARGE_DATA.partition("?")[0] if _lacks_options(environment) else LARGE_DATA


def large_data_advice(environment: Mapping[str, str]) -> str:
    """Return how to make large images arrive, as the end of a sentence."""
    return (
        f"set {BUILTIN_TRANSPORTS}='{large_data(environment)}' in every process, and unset "
        "ROS_AUTOMATIC_DISCOVERY_RANGE and ROS_LOCALHOST_ONLY, which can make Fast DDS ignore it"
    )


def transport_advice(environment: Mapping[str, str], middleware: str, image_bytes: int, reliable: bool) -> str:
    """Return advice about images that are published and do not arrive.

    Args:
        environment: variables of this process.
        middleware: identifier of the RMW implementation.
        image_bytes: size of an image, or 0 if unknown.
        reliable: whether the subscription to the images is reliable.
    """
    if "fastrtps" not in middleware:
        return f"large images may exceed the limits of {middleware}; see its documentation on large messages"
    if environment.get("FASTRTPS_DEFAULT_PROFILES_FILE") or environment.get("FASTDDS_DEFAULT_PROFILES_FILE"):
        return "a Fast DDS profile file is set here and decides the transport; check that it allows large images"
    setting = environment.get(BUILTIN_TRANSPORTS, "")
    name, _, options = setting.partition("?")
    remedy = f"set {BUILTIN_TRANSPORTS}='{large_data(environment)}' {BOTH_SIDES}"
    if name in ("", "DEFAULT"):
        if reliable:
            return f"does the camera's process use the default transport, as this one does? If it does, {remedy}"
        return f"the default transport loses large best-effort images: publish them as reliable, or {remedy}"
    for local, value in (("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"), ("ROS_LOCALHOST_ONLY", "1")):
        if environment.get(local) == value:
            return f"{local}={value} makes Fast DDS ignore {BUILTIN_TRANSPORTS}: unset it {BOTH_SIDES}"
    if options and _lacks_options(environment):
        return f"Fast DDS of {environment['ROS_DISTRO']} takes no options in {BUILTIN_TRANSPORTS}={setting}: {remedy}"
    if "max_msg_size" in options:
        return f"{BUILTIN_TRANSPORTS}={setting} loses messages with Fast DDS 2.14 because of max_msg_size: {remedy}"
    sizes = {key: _bytes(value) for key, value in re.findall(r"(\w+)=(\w+)", options)}
    needed = max(MIN_SOCKETS_SIZE, image_bytes // 2)
    if sizes.get("sockets_size", 0) < needed and not _lacks_options(environment):
        megabytes = -(-needed // UNITS["M"])
        return (
            f"{BUILTIN_TRANSPORTS}={setting} has buffers too small for these images: set "
            f"{BUILTIN_TRANSPORTS}='{name}?sockets_size={megabytes}MB' {BOTH_SIDES}"
        )
    return (
        f"set {BUILTIN_TRANSPORTS}='{setting}' in the camera's process too: processes with different transports do "
        "not see each other"
    )


def _lacks_options(environment: Mapping[str, str]) -> bool:
    return environment.get("ROS_DISTRO") in WITHOUT_OPTIONS


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text.upper())
    return int(match[1]) * UNITS[match[2]] if match else 0
