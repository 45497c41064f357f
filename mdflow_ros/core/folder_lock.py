# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Keep two processes from writing into one folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".in_use"


class FolderInUse(OSError):
    """Another process writes into the folder; the text names it."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created if needed. The lock ends with the process, even if that is killed.

    Raises:
        FolderInUse: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise FolderInUse(
                f"another process, {file.read().strip()}, writes into {folder}: wait for it, or choose another folder"
            ) from error
        except OSError:  # some network file systems have no locks; there the user must see to it
            pass
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
