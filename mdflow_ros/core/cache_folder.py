# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The folder for files that this package can create again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def home() -> Path:
    """Return the user's home, or a temporary folder of the user where none is known, as in a container."""
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry of the user's number
        return Path(tempfile.gettempdir()) / f"mdflow_ros-{os.getuid()}"


def cache_folder(name: str) -> Path:
    """Return ``mdflow_ros/NAME`` in the user's cache folder, by the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else home() / ".cache") / "mdflow_ros" / name


def cache_file(name: str, subject: str, suffix: str) -> Path:
    """Return the file in the folder ``name`` for what ``subject`` describes in full."""
    return cache_folder(name) / f"{hashlib.sha256(subject.encode()).hexdigest()[:24]}{suffix}"
