# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Cache engines in the user's cache folder, each with a record of what it was built from and for."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.cache_folder import cache_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on; a cached engine is used only if all of it matches.

    Attributes:
        model_sha256: of the deployable model.
        graph_sha256: of the ONNX graph that was passed to TensorRT.
        size: ``WIDTHxHEIGHT`` in pixels.
        precision: ``fp16`` or ``fp32``.
        outputs: the part of the network and the last decoded levels, such as ``decoder-3-3``.
        tensorrt: version of TensorRT.
        gpu: name of the GPU.
        compute_capability: of the GPU.
    """

    model_sha256: str
    graph_sha256: str
    size: str
    precision: str
    outputs: str
    tensorrt: str
    gpu: str
    compute_capability: str

    def differences(self, wanted: EngineKey) -> list[str]:
        """Describe the differences between this key and the wanted one."""
        pairs = ((f.name, getattr(self, f.name), getattr(wanted, f.name)) for f in dataclasses.fields(self))
        return [f"{name} {_short(ours)}, not {_short(theirs)}" for name, ours, theirs in pairs if ours != theirs]


@dataclass(frozen=True)
class EngineRecord:
    """The first line of an engine file, as JSON; the serialized engine follows.

    Attributes:
        key: what the engine was built from and for.
        engine_sha256: of the serialized engine.
        build_seconds: how long the build took.
    """

    key: EngineKey
    engine_sha256: str
    build_seconds: float


class EngineMissing(LookupError):
    """The cache holds no matching engine; the text says what differs."""


class EngineCache:
    """A folder of engines.

    Args:
        folder: ``None`` takes ``mdflow_ros/engines`` in the user's cache folder (XDG Base Directory Specification).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder("engines")

    def path(self, key: EngineKey) -> Path:
        """Return the path of an engine, which may not exist."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(key)).encode()).hexdigest()
        return self.folder / f"{key.size}-{key.precision}-{key.outputs}-{digest[:12]}.engine"

    def load(self, key: EngineKey) -> bytes:
        """Return the matching engine.

        Raises:
            EngineMissing: there is none, or it is damaged.
        """
        path = self.path(key)
        if not path.exists():
            raise EngineMissing(self._explain_absence(key))
        try:
            record, engine = _read(path)
        except (OSError, ValueError) as error:
            raise EngineMissing(f"{path} cannot be used: {error}") from error
        if record.key != key:
            raise EngineMissing(f"{path} is not what its name says: {', '.join(record.key.differences(key))}")
        return engine

    def store(self, key: EngineKey, engine: bytes, build_seconds: float) -> Path:
        """Store an engine atomically and return its path.

        Raises:
            OSError: the folder cannot be written to, or the disk is full; an existing engine is kept.
        """
        record = EngineRecord(key, hashlib.sha256(engine).hexdigest(), round(build_seconds, 1))
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.path(key), json.dumps(dataclasses.asdict(record)).encode() + b"\n" + engine)
        return self.path(key)

    def load_or_build(
        self, key: EngineKey, build: Callable[[], tuple[bytes, float]], force: bool
    ) -> tuple[bytes, Path | None]:
        """Return the matching engine, which is built if it is missing, and its path.

        Only one engine is built at a time, because TensorRT times kernels and two builds would disturb each other. A
        process that waited for the same engine then finds it in the cache. If the engine cannot be stored, this is
        logged and the path is ``None``; the engine can still be used.

        Args:
            key: that the engine must match.
            build: returns the engine and the build time in seconds.
            force: build the engine even if it is cached.
        """
        if not force:
            try:
                return self.load(key), self.path(key)
            except EngineMissing as reason:
                logger.info("no cached engine fits: %s", reason)
        with self.locked():
            if not force:
                with suppress(EngineMissing):
                    return self.load(key), self.path(key)
            engine, seconds = build()
            try:
                return engine, self.store(key, engine, seconds)
            except OSError as error:
                logger.error(
                    "the engine works but cannot be stored and will be built again next time: %s. Make room in %s or "
                    "make it writable, or set XDG_CACHE_HOME to a folder that is",
                    error,
                    self.folder,
                )
                return engine, None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the cache against other builds, waiting if needed. Without write permission, nothing is locked."""
        lock = self._open_lock()
        if lock is None:
            yield
            return
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("another process builds an engine; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)  # the system releases it when that process ends, even if it is killed
            yield

    def _open_lock(self) -> IO[str] | None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / "lock").open("w")
        except OSError as error:
            logger.warning("cannot write to the engine cache %s: %s", self.folder, error)
            return None

    def records(self) -> dict[Path, EngineRecord | None]:
        """Return every engine file with its record, or with ``None`` if it is damaged."""
        records: dict[Path, EngineRecord | None] = {}
        for path in sorted(self.folder.glob("*.engine")):
            try:
                records[path] = _read(path)[0]
            except (OSError, ValueError):
                records[path] = None
        return records

    def prune(self, useless: Callable[[EngineRecord], bool]) -> list[Path]:
        """Remove damaged and useless engines and unfinished files; return the paths removed.

        Raises:
            OSError: a file cannot be removed.
        """
        with self.locked():
            doomed = [path for path, record in self.records().items() if record is None or useless(record)]
            doomed += [path for path in self.folder.glob(".*") if path.is_file()]
            for path in doomed:
                path.unlink(missing_ok=True)
        return doomed

    def load_timings(self, tensorrt: str, gpu: str) -> bytes:
        """Return the kernel timings of earlier builds, empty if there are none. TensorRT validates them."""
        try:
            return self._timings_path(tensorrt, gpu).read_bytes()
        except OSError:
            return b""

    def store_timings(self, tensorrt: str, gpu: str, timings: bytes) -> None:
        """Store kernel timings for the next build. They only save time, so a failure is only logged."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._timings_path(tensorrt, gpu), timings)
        except OSError as error:
            logger.warning("cannot keep the kernel timings: %s", error)

    def _timings_path(self, tensorrt: str, gpu: str) -> Path:
        digest = hashlib.sha256(f"{tensorrt} {gpu}".encode()).hexdigest()
        return self.folder / f"timings-{digest[:12]}.cache"

    def _explain_absence(self, key: EngineKey) -> str:
        """Describe the differences to the closest engine in the cache."""
        differences = [record.key.differences(key) for record in self.records().values() if record is not None]
        if not differences:
            return f"there is none in {self.folder}"
        return "the closest has " + "; ".join(sorted(differences, key=len)[0])


def _read(path: Path) -> tuple[EngineRecord, bytes]:
    """Return the record and the engine of a file; raises OSError or, if it is damaged, ValueError."""
    head, _, engine = path.read_bytes().partition(b"\n")
    try:
        values = json.loads(head)
        record = EngineRecord(**{**values, "key": EngineKey(**values["key"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"it does not begin with a record of this version ({error!r})") from error
    if hashlib.sha256(engine).hexdigest() != record.engine_sha256:
        raise ValueError("it is damaged: the SHA-256 of the engine is not the recorded one")
    return record, engine


def _short(value: str) -> str:
    """Shorten a hash as git does."""
    return value[:12] if len(value) == 64 else value
