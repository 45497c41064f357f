# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Make text from outside safe for a log."""

from __future__ import annotations


def printable(text: str, max_length: int = 300) -> str:
    """Escape what a terminal would interpret, and cut the text to ``max_length`` characters."""
    head = text[:max_length]  # first, as a message may be megabytes long
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in head)
    if len(text) <= max_length and len(escaped) <= max_length:
        return escaped
    return f"{escaped[: max_length - 3]}..."
