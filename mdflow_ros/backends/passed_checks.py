# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Remember which checks passed on this computer: a check of OpenVINO takes half of the time of a start."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.cache_folder import cache_file
from mdflow_ros.version import __version__

logger = logging.getLogger(__name__)


def check_once(subject: Mapping[str, object], check: Callable[[], None]) -> None:
    """Run a check unless it already passed for the same subject and version of this package.

    Args:
        subject: everything that affects the outcome, such as the hash of the model, the engine and its version.
        check: raises an error if it fails.
    """
    text = json.dumps({"mdflow_ros": __version__, **subject}, sort_keys=True, indent=1)
    record = cache_file("checks", text, ".json")
    try:
        if record.read_text() == text:
            return
    except (OSError, ValueError):
        pass  # the record is missing or damaged
    check()
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        replace_file(record, text.encode(), durable=False)
    except OSError as error:
        logger.info("cannot remember the check; the next start repeats it: %s", error)
