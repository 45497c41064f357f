# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The folder for files that this package can create again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def home() -> Path:
    """Return the user's home folder, or a temporary folder if the user has none, as in some containers."""
    try:
        return Path.home()
    except RuntimeError:  # HOME is not set, and the user ID has no entry in the password database
        return Path(tempfile.gettempdir()) / f"mdflow_ros-{os.getuid()}"


def cache_folder(name: str) -> Path:
    """Return ``mdflow_ros/NAME`` in the user's cache folder, by the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else home() / ".cache") / "mdflow_ros" / name


def cache_file(name: str, subject: str, suffix: str) -> Path:
    """Return the path of a cached file in the folder ``name``; ``subject`` identifies its content."""
    return cache_folder(name) / f"{hashlib.sha256(subject.encode()).hexdigest()[:24]}{suffix}"
