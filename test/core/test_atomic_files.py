# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import errno
import json
import math
from pathlib import Path

import pytest

from mdflow_ros.core.atomic_files import replace_file, write_json, written_aside


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    replace_file(file, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*report\.json"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_json_has_null_for_numbers_that_it_cannot_write(tmp_path: Path) -> None:
    values = {"nan": math.nan, "rates": [math.inf, -math.inf, 1.5], "name": "NaN"}
    write_json(tmp_path / "values.json", values)
    text = (tmp_path / "values.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text) == {"nan": None, "rates": [None, None, 1.5], "name": "NaN"}


def test_an_error_that_has_a_text_alone_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^the encoder failed$"), written_aside(tmp_path / "report.json"):
        raise OSError("the encoder failed")
