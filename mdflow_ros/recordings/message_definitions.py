# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Get the definitions of installed message types, in the format of bags.

ROS 2's types differ between distributions, so a bag must contain the definitions of its messages.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_PRIMITIVE = re.compile(r"(bool|byte|char|w?string|float(32|64)|u?int(8|16|32|64))$")
_FIELD = re.compile(r"([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*")
_SEPARATOR = "=" * 80


def installed_definition(type_name: str) -> str:
    """Return the definition of a type and of the types in it; empty if one of them is not installed.

    Args:
        type_name: such as ``sensor_msgs/msg/Image``.

    Returns:
        The text of its ``.msg`` file and, after separators, the texts of all types that it contains, in MCAP's format
        ``ros2msg`` (https://mcap.dev/spec/registry).
    """
    texts: dict[str, str] = {}
    wanted = [type_name]
    while wanted:
        name = wanted.pop()
        if name in texts:
            continue
        file = _file_of(name)
        if file is None:
            return ""
        texts[name] = file.read_text("utf-8")
        wanted += _types_in(texts[name], package=name.partition("/")[0])
    main = texts.pop(type_name)
    parts = [f"{_SEPARATOR}\nMSG: {name.replace('/msg/', '/')}\n{text}" for name, text in texts.items()]
    return "\n".join([main, *parts])


def _types_in(text: str, package: str) -> list[str]:
    """Return the full names of the field types in a ``.msg`` file, except for primitive ones."""
    found = []
    for line in text.splitlines():
        match = _FIELD.match(line.strip())
        if match is None or _PRIMITIVE.match(match[1]):
            continue
        *packages, name = match[1].split("/")
        found.append(f"{packages[0] if packages else package}/msg/{name}")
    return found


def _file_of(type_name: str) -> Path | None:
    """Return the ``.msg`` file of a type from the prefixes where ROS packages are installed, if there is one."""
    package, _, name = type_name.partition("/msg/")
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    files = (Path(prefix, "share", package, "msg", f"{name}.msg") for prefix in prefixes)
    return next((file for file in files if file.is_file()), None)
