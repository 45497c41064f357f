# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Only passed checks are remembered, and only for the same subject."""

import pytest

from mdflow_ros.backends.passed_checks import check_once

SUBJECT = {"engine": "one 1.0", "size": 64}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mdflow_ros" / "checks"


def count_runs(*subjects):
    runs = []
    for subject in subjects:
        check_once(subject, lambda: runs.append(1))
    return len(runs)


def test_a_check_runs_once_for_each_subject():
    assert count_runs(SUBJECT, SUBJECT, SUBJECT) == 1
    assert count_runs({**SUBJECT, "engine": "one 1.1"}, {**SUBJECT, "size": 128}) == 2


def test_a_failed_check_is_repeated():
    def fail():
        raise ValueError("wrong flow")

    for _ in range(2):
        with pytest.raises(ValueError, match="wrong flow"):
            check_once(SUBJECT, fail)
    assert count_runs(SUBJECT) == 1


def test_a_damaged_record_is_written_anew(cache):
    assert count_runs(SUBJECT) == 1
    (record,) = cache.iterdir()
    record.write_bytes(b"\xff\x00")
    assert count_runs(SUBJECT, SUBJECT) == 1


def test_a_cache_that_cannot_be_written_only_costs_time(cache):
    cache.parent.parent.write_text("a file where the folder should be")
    assert count_runs(SUBJECT, SUBJECT) == 2
