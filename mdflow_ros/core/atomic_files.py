# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write files so that no reader ever sees half of one."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give the name of a file beside ``path`` to write to; it replaces ``path`` if no error is raised.

    Args:
        path: the file to write. The other name has the same suffix.
        durable: whether the file must survive a power failure; syncing takes some milliseconds.

    Raises:
        OSError: the disk is full or gone; it names ``path``.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        if durable:
            with aside.open("rb") as file:
                os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # as where the disk is full
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create ``folder`` if needed and try to write there: better an error now than after minutes of work.

    Raises:
        OSError: it cannot be created or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def replace_file(path: Path, content: bytes, durable: bool = True) -> None:
    """Write ``content`` to ``path`` by way of `written_aside`."""
    with written_aside(path, durable) as aside:
        aside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by plain values as JSON, which has neither NaN nor infinity: they become null.

    Raises:
        OSError: as for `replace_file`.
    """
    replace_file(path, (json.dumps(finite_or_none(value), indent=2, allow_nan=False) + "\n").encode())


def finite_or_none(value: Any) -> Any:
    """Return plain values with None in place of NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
