# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of engines on real files; only the bytes of the engines are invented."""

import dataclasses
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from places import ROOT
from process_helpers import small_disk

from mdflow_ros.backends.tensorrt.cache import EngineCache, EngineKey, EngineMissing
from mdflow_ros.core.cache_folder import cache_folder

KEY = EngineKey("a" * 64, "b" * 64, "640x384", "fp16", "flow", "10.3.0", "Orin", "8.7")
ENGINE = b"engine\nwith a line break" + bytes(range(256)) * 400


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def never():
    raise AssertionError("an engine was built")


def names(cache):
    return sorted(path.name for path in cache.folder.iterdir() if path.name != "lock")


def test_an_engine_comes_back_as_stored(cache):
    path = cache.store(KEY, ENGINE, 12.34)
    assert cache.load(KEY) == ENGINE
    assert cache.load_or_build(KEY, never, False) == (ENGINE, path)
    assert names(cache) == [path.name]
    (record,) = cache.records().values()
    assert (record.key, record.build_seconds) == (KEY, 12.3)


def test_the_folder_follows_the_xdg_specification(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder("engines") == Path("/somewhere/mdflow_ros/engines")
    for value in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("engines") == Path.home() / ".cache/mdflow_ros/engines"


def test_an_empty_cache_says_that_it_is_empty(cache):
    with pytest.raises(EngineMissing, match=f"there is none in {cache.folder}"):
        cache.load(KEY)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_an_engine_with_any_other_property_does_not_fit_and_the_difference_is_told(cache, field, caplog):
    caplog.set_level(logging.INFO)
    other = dataclasses.replace(KEY, **{field: "c" * 64 if field.endswith("sha256") else "other"})
    farther = dataclasses.replace(other, gpu="far", size="far", precision="far")
    cache.store(farther, b"farther", 1)
    cache.store(other, b"other", 1)
    wanted, there = getattr(KEY, field)[:12], getattr(other, field)[:12]
    with pytest.raises(EngineMissing, match=f"^the closest has {field} {there}, not {wanted}$"):
        cache.load(KEY)
    engine, path = cache.load_or_build(KEY, lambda: (ENGINE, 1.0), False)
    assert f"no cached engine fits: the closest has {field} " in caplog.text
    assert engine == path.read_bytes()[-len(ENGINE) :] == ENGINE
    assert cache.load(other) == b"other"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: content[:-1], "SHA-256"),
        (lambda content: content[:-9] + b"X" + content[-8:], "SHA-256"),
        (lambda content: content[:50], "does not begin with a record"),
        (lambda content: b"", "does not begin with a record"),
        (lambda content: b"\xff\xfe" + content, "does not begin with a record"),
        (lambda content: b"{}\n" + content, "does not begin with a record"),
        (lambda content: b"[1]\n" + content, "does not begin with a record"),
        (lambda content: content.replace(b'"gpu"', b'"old field"'), "does not begin with a record"),
        (lambda content: content.replace(b"Orin", b"Thor"), "not what its name says: gpu Thor, not Orin"),
    ],
)
def test_a_damaged_engine_is_noticed_and_built_anew(cache, damage, complaint):
    path = cache.store(KEY, ENGINE, 1)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EngineMissing, match=complaint):
        cache.load(KEY)
    assert cache.load_or_build(KEY, lambda: (b"new", 1.0), False) == (b"new", path)
    assert cache.load(KEY) == b"new"


def test_it_builds_anew_when_forced(cache):
    cache.store(KEY, ENGINE, 1)
    assert cache.load_or_build(KEY, lambda: (b"new", 1.0), True)[0] == b"new"
    assert cache.load(KEY) == b"new"


def test_a_failed_build_leaves_the_cache_as_it_was_and_unlocked(cache):
    cache.store(KEY, ENGINE, 1)

    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cache.load_or_build(KEY, fail, True)
    assert cache.load(KEY) == ENGINE
    assert cache.load_or_build(KEY, lambda: (b"new", 1.0), True)[0] == b"new"


SECOND_BUILDER = """
import sys, logging
from pathlib import Path
from mdflow_ros.backends.tensorrt.cache import EngineCache, EngineKey
logging.basicConfig(level=logging.INFO, format="%(message)s")
key = EngineKey("a" * 64, "b" * 64, "640x384", "fp16", "flow", "10.3.0", "Orin", "8.7")
engine, _ = EngineCache(Path(sys.argv[1])).load_or_build(key, lambda: (b"built twice", 1.0), False)
print(engine.decode())
"""


def test_of_two_builders_one_builds_and_the_other_waits_for_it(cache):
    other = None

    def build():
        nonlocal other
        command = [sys.executable, "-u", "-c", SECOND_BUILDER, str(cache.folder)]
        other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert other.stdout.readline().startswith("no cached engine fits")
        assert other.stdout.readline() == "another process builds an engine; waiting for it\n"
        return b"built once", 1.0

    cache.load_or_build(KEY, build, False)
    output, _ = other.communicate(timeout=60)
    assert output == "built once\n"


def test_a_builder_that_was_killed_does_not_lock_others_out(cache):
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); "
    cache.folder.mkdir()
    lock = str(cache.folder / "lock")
    holder = subprocess.Popen([sys.executable, "-c", hold + "time.sleep(60)", lock], stdout=subprocess.PIPE)
    holder.stdout.readline()
    builder = threading.Thread(target=cache.load_or_build, args=(KEY, lambda: (ENGINE, 1.0), False))
    builder.start()
    time.sleep(0.2)
    assert builder.is_alive()
    holder.kill()
    holder.wait()
    builder.join(timeout=60)
    assert cache.load(KEY) == ENGINE


def test_a_full_disk_keeps_the_old_engine_and_the_new_one_is_used_all_the_same(cache, caplog):
    cache.store(KEY, ENGINE, 1)
    larger = ENGINE * 3
    with small_disk(len(ENGINE) * 2):
        engine, path = cache.load_or_build(KEY, lambda: (larger, 1.0), True)
    assert (engine, path) == (larger, None)
    assert "cannot be stored and will be built again next time" in caplog.text
    assert cache.load(KEY) == ENGINE
    assert names(cache) == [cache.path(KEY).name]


@pytest.fixture
def read_only_cache():
    """A cache that this process may read but not write, even if it is root."""
    with tempfile.TemporaryDirectory() as folder:
        cache = EngineCache(Path(folder) / "engines")
        cache.store(KEY, ENGINE, 1)
        for path in (Path(folder), cache.folder):
            path.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        yield cache
        if root:
            os.seteuid(0)
        for path in (Path(folder), cache.folder):
            path.chmod(0o755)


def test_a_read_only_cache_is_read_and_not_waited_for(read_only_cache, caplog):
    assert read_only_cache.load_or_build(KEY, never, False)[0] == ENGINE
    other = dataclasses.replace(KEY, gpu="Thor")
    assert read_only_cache.load_or_build(other, lambda: (b"new", 1.0), False) == (b"new", None)
    assert f"cannot write to the engine cache {read_only_cache.folder}" in caplog.text
    assert "Make room in" in caplog.text
    read_only_cache.store_timings("10.3.0", "Orin", b"timings")
    assert "cannot keep the kernel timings" in caplog.text
    assert names(read_only_cache) == [read_only_cache.path(KEY).name]


def test_an_error_beside_a_read_only_cache_is_not_blamed_on_the_cache(read_only_cache):
    with pytest.raises(RuntimeError) as raised, read_only_cache.locked():
        raise RuntimeError("out of memory")
    assert raised.value.__context__ is None


def test_a_cache_that_cannot_even_be_made_is_no_reason_to_fail(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    cache = EngineCache(tmp_path / "file" / "engines")
    assert cache.load_or_build(KEY, lambda: (ENGINE, 1.0), False) == (ENGINE, None)
    assert "set XDG_CACHE_HOME" in caplog.text


def test_pruning_removes_what_is_useless_damaged_or_left_over(cache):
    kept = cache.store(KEY, ENGINE, 1)
    old = cache.store(dataclasses.replace(KEY, tensorrt="8.6.1"), ENGINE, 1)
    damaged = cache.store(dataclasses.replace(KEY, gpu="Thor"), ENGINE, 1)
    damaged.write_bytes(b"")
    leftover = cache.folder / f".{kept.name}.x7_3"
    leftover.write_bytes(b"half an engine")
    cache.store_timings("10.3.0", "Orin", b"timings")
    assert sorted(cache.records()) == sorted([kept, old, damaged])
    assert cache.records()[damaged] is None
    removed = cache.prune(lambda record: record.key.tensorrt != "10.3.0")
    assert sorted(removed) == sorted([old, damaged, leftover])
    assert cache.load(KEY) == ENGINE
    assert cache.load_timings("10.3.0", "Orin") == b"timings"
    assert cache.prune(lambda record: True) == [kept]


def test_pruning_waits_for_a_builder(cache):
    with cache.locked():
        pruner = threading.Thread(target=cache.prune, args=(lambda record: True,))
        pruner.start()
        time.sleep(0.2)
        assert pruner.is_alive()
    pruner.join(timeout=60)
    assert not pruner.is_alive()


def test_timings_are_kept_per_gpu_and_version(cache):
    assert cache.load_timings("10.3.0", "Orin") == b""
    cache.store_timings("10.3.0", "Orin", b"timings")
    assert cache.load_timings("10.3.0", "Orin") == b"timings"
    assert cache.load_timings("10.4.0", "Orin") == cache.load_timings("10.3.0", "Thor") == b""
    shutil.rmtree(cache.folder)
    assert cache.load_timings("10.3.0", "Orin") == b""


def test_the_lock_is_the_systems(cache):
    with cache.locked(), (cache.folder / "lock").open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
