# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and paths on the command line, for the argument ``type`` of argparse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def path_in_utf8(text: str) -> Path:
    """Parse a path that is valid UTF-8: Linux allows others, but TensorBoard cannot use them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a} is not UTF-8: choose another name") from None
    return Path(text)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a function that parses a whole number of at least ``minimum``."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than {minimum}")
        return value

    return whole_number
