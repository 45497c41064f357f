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
    """Yield the path of a temporary file beside ``path``; it replaces ``path`` if no error is raised.

    Args:
        path: the file to replace. The temporary file has the same suffix.
        durable: whether the file must survive a power failure; syncing takes a few milliseconds.

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
        if error.filename is None and error.errno is not None:  # for example, the disk is full
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
    """Replace ``path`` by a file with ``content``; see `written_aside` for ``durable`` and the errors."""
    with written_aside(path, durable) as aside:
        aside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by ``value`` as JSON. NaN and infinity, which JSON does not have, become null.

    Raises:
        OSError: as for `replace_file`.
    """
    replace_file(path, (json.dumps(finite_or_none(value), indent=2, allow_nan=False) + "\n").encode())


def finite_or_none(value: Any) -> Any:
    """Return ``value`` with None in place of NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
