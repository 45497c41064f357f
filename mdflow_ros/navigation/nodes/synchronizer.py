# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Synchronize topics with equal stamps. It replaces message_filters, which is not installed everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

MAX_INCOMPLETE = 10
"""Maximum number of incomplete sets that are kept."""


class ExactSynchronizer:
    """Collects messages with equal stamps and passes them on when all topics are present.

    Args:
        names: of the topics.
        on_set: called with a dictionary from name to message as soon as a set is complete.

    Attributes:
        sets: number of complete sets.
        incomplete: number of incomplete sets that were dropped.
        received: number of messages of each topic since the last complete set.
    """

    def __init__(self, names: Iterable[str], on_set: Callable[[dict[str, Any]], None]) -> None:
        self.names = tuple(names)
        self.sets = 0
        self.incomplete = 0
        self.received: Counter[str] = Counter()
        self._on_set = on_set
        self._waiting: dict[tuple[int, int], dict[str, Any]] = {}

    def add(self, name: str, message: Any) -> None:
        """Add a message with a header. When a set is complete, older incomplete sets are dropped and counted."""
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        self.received[name] += 1
        waiting = self._waiting.setdefault(stamp, {})
        waiting[name] = message
        if len(waiting) == len(self.names):
            # In the order of arrival, not of stamps: a looping bag jumps back.
            for older in list(self._waiting):
                del self._waiting[older]
                if older == stamp:
                    break
                self.incomplete += 1
            self.sets += 1
            self.received.clear()
            self._on_set(waiting)
        elif len(self._waiting) > MAX_INCOMPLETE:
            del self._waiting[next(iter(self._waiting))]
            self.incomplete += 1

    def restart(self, names: Iterable[str]) -> None:
        """Collect other topics, and drop all waiting messages."""
        self.names = tuple(names)
        self.received.clear()
        self._waiting.clear()

    def missing(self) -> list[str]:
        """Return the topics without messages since the last complete set."""
        return [name for name in self.names if not self.received[name]]
