# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A thread that processes the newest item, so that the executor does not have to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestOnlyWorker(Generic[Item]):
    """Calls ``work`` with the newest item; an older item that is still waiting is dropped and counted.

    Args:
        work: runs in the worker's thread and must not raise.
        name: of the thread.

    Attributes:
        dropped: number of dropped items.
    """

    def __init__(self, work: Callable[[Item], None], name: str) -> None:
        self.dropped = 0
        self._work = work
        self._newest: Item | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item and return at once."""
        with self._changed:
            if self._newest is not None:
                self.dropped += 1
            self._newest = item
            self._changed.notify()

    def clear(self) -> None:
        """Forget a waiting item; the one being processed is completed."""
        with self._changed:
            self._newest = None

    def stop(self, timeout: float) -> bool:
        """End the thread, waiting up to ``timeout`` seconds for the item being processed; return whether it ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._stopping)
                if self._stopping:
                    return
                item, self._newest = self._newest, None
            assert item is not None
            self._work(item)
