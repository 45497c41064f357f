# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Cache compiled graphs in the user's cache folder: loading one takes a third of the time of compiling it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.cache_folder import cache_file

MAX_FILES = 24
"""Number of most recently used files that are kept: three for each size of each model, of up to 5 MB each."""

DIGEST_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


def load_compiled(subject: Mapping[str, object]) -> bytes | None:
    """Return the bytes that `store_compiled` stored for the same subject; ``None`` if they are missing or damaged."""
    path = _path(subject)
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    digest, compiled = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return compiled if hashlib.sha256(compiled).digest() == digest else None


def store_compiled(subject: Mapping[str, object], compiled: bytes) -> None:
    """Store a compiled graph and remove the least recently used ones. A failure is only logged.

    Args:
        subject: everything that affects the compiled graph, such as the hash of the source graph, its size, the engine
            and its version.
        compiled: what the engine needs to load it.
    """
    path = _path(subject)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, hashlib.sha256(compiled).digest() + compiled, durable=False)
        newest_first = sorted(path.parent.glob("*.graph"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in newest_first[MAX_FILES:]:
            file.unlink(missing_ok=True)
    except OSError as error:
        logger.info("cannot keep the compiled graph; the next start compiles it again: %s", error)


def _path(subject: Mapping[str, object]) -> Path:
    return cache_file("compiled", json.dumps(subject, sort_keys=True), ".graph")
