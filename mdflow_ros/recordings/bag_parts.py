# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find the files of a bag, and read the raw messages of one file, even if it is damaged."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader

from mdflow_ros.recordings.bag_message import (
    CDR,
    IDL,
    IMAGE_TYPES,
    MSG,
    ROS1,
    RawMessage,
    canonical_type,
    decompress_file,
    readable_definition,
)
from mdflow_ros.recordings.clock_jumps import may_be_set_back, seconds_set_back
from mdflow_ros.recordings.file_kinds import METADATA, check_content, folders_below, is_hidden
from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.salvage import salvage_messages
from mdflow_ros.recordings.salvage_sqlite import unfinished_companions

BAG_SUFFIXES = (".mcap", ".db3", ".bag", ".mcap.zstd", ".db3.zstd", ".bag.active")

MAX_DETAILS = 3
"""Number of damaged sections of a file that a warning lists."""


def is_bag_file(path: Path) -> bool:
    """Return whether the name of a file is that of a bag or of one part of a bag."""
    return path.name.endswith(BAG_SUFFIXES)


def bag_files(folder: Path) -> list[Path]:
    """Return the bag files in a folder and below, in the natural order of their names."""
    found = (path for place in (folder, *folders_below(folder)) for path in place.iterdir() if is_bag_file(path))
    return sorted((path for path in found if not path.is_dir() and not is_hidden(Path(path.name))), key=natural_order)


def _compressed(path: Path) -> Path:
    return path.with_name(path.name + ".zstd")


def _without_copies(files: list[Path], warnings: list[str]) -> list[Path]:
    """Leave out the uncompressed copies that ``ros2 bag play`` makes of compressed files; they may be incomplete."""
    copies = [path for path in files if _compressed(path) in files]
    warnings += [f"{path} is left out: {_compressed(path).name} beside it holds the same" for path in copies]
    return [path for path in files if path not in copies]


def natural_order(path: Path) -> list[str | int]:
    """Sort key that puts ``bag_10`` after ``bag_9``."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", str(path))]


def find_parts(bag: Path, warnings: list[str]) -> list[Path]:
    """List the files of a bag in the order of recording.

    Args:
        bag: a bag file, or a folder that ``ros2 bag record`` wrote. ``metadata.yaml`` gives the order; parts that it
            does not list, because recording was killed, follow. Without it, the names give the order.
        warnings: receives a line for each part that is listed but missing.

    Raises:
        FrameSourceError: ``bag`` does not exist, or holds no bag file.
    """
    if bag.is_file():
        if not is_bag_file(bag):
            raise FrameSourceError(f"{bag} is not a bag file (expected {', '.join(BAG_SUFFIXES)})")
        return [bag]
    if not bag.is_dir():
        raise FrameSourceError(f"{bag} does not exist")
    there = _without_copies(bag_files(bag), warnings)
    if not there:
        raise FrameSourceError(f"{bag} holds no bag file (expected {', '.join(BAG_SUFFIXES)})")
    # Names are relative to this folder or to its parent; bags recorded on Windows have backslashes.
    listed = [bag / re.split(r"[/\\]", name)[-1] for name in _listed_in_metadata(bag / METADATA, warnings)]
    # Foxy lists compressed files without their suffix.
    listed = [_compressed(path) if _compressed(path) in there else path for path in listed]
    for path in listed:
        if path not in there:
            warnings.append(f"{path} is listed in metadata.yaml but missing: its frames are lost")
    return [path for path in listed if path in there] + [path for path in there if path not in listed]


def open_parts(files: Iterable[Path], warnings: list[str]) -> list[BagPart]:
    """Open the files of bags.

    Args:
        files: see `find_parts`.
        warnings: receives a line for each file that cannot be opened, if another one can.

    Raises:
        FrameSourceError: none of them can be opened.
    """
    parts: list[BagPart] = []
    errors: list[FrameSourceError] = []
    for path in files:
        try:
            parts.append(BagPart(path))
        except FrameSourceError as error:
            errors.append(error)
    if errors and not parts:
        raise errors[0]
    warnings += [f"{error}; the other files are read" for error in errors]
    return parts


def _listed_in_metadata(metadata: Path, warnings: list[str]) -> list[str]:
    try:
        information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
        return [str(name) for name in information["relative_file_paths"]]
    except FileNotFoundError:
        return []
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        warnings.append(f"{metadata} is unreadable ({error!r}): the parts are taken in the order of their names")
        return []


@dataclass(frozen=True)
class Topic:
    """A bag's description of one of its topics.

    Attributes:
        type_name: of its messages.
        count: number of messages; None if it is unknown because the file is damaged.
        encoding: of its messages, see `RawMessage`.
    """

    type_name: str
    count: int | None
    encoding: str = CDR


def add_topic(topics: dict[str, Topic], name: str, topic: Topic) -> None:
    """Add the description of a topic from one connection or file; if types differ, an image type is kept."""
    if name in topics:
        before = topics[name]
        kept = before if before.type_name in IMAGE_TYPES else topic
        count = None if before.count is None or topic.count is None else before.count + topic.count
        topic = replace(kept, count=count)
    topics[name] = topic


class BagPart:
    """One file of a bag: ROS 1, or ROS 2 in MCAP or SQLite, compressed or not, whole or damaged.

    Intact files are read by rosbags through their index. If rosbags fails, the file is read again from its first to its
    last readable byte. rosbags also refuses intact files with other encodings than ROS 2's, so only this second pass
    decides whether a file is damaged.

    Attributes:
        damage: why the file cannot be read to its end; ``None`` as long as no damage is known.

    Raises:
        FrameSourceError: the file is a Git LFS pointer, a broken link, empty, or has another format than its name says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_ros1 = path.name.endswith((".bag", ".bag.active"))
        self.damage: str | None = None
        self._may_be_sound = ".mcap" in path.suffixes
        """Whether a file that rosbags refuses may be intact: rosbags reads only MCAP files in ROS 2's encoding."""
        check_content(path, ".bag" if self.is_ros1 else path.suffix)

    def topics(self) -> dict[str, Topic]:
        """Return the topics of this file by name."""
        found: dict[str, Topic] = {}
        try:
            with self._reader() as reader:
                for connection in reader.connections:
                    topic = Topic(canonical_type(connection.msgtype), connection.msgcount, _encoding(connection))
                    add_topic(found, connection.topic, topic)
            return found
        except Exception as error:  # rosbags may raise anything for damaged files, from KeyError to apsw's errors
            details: list[str] = []
            counts: Counter[str] = Counter()
            for message in salvage_messages(self.path, details):
                counts[message.topic] += 1
                add_topic(found, message.topic, Topic(message.type_name, None, message.encoding))
            if details or not self._may_be_sound:
                self.damage = "; ".join([str(error), *details[:1]])
                return found
            return {name: replace(topic, count=counts[name]) for name, topic in found.items()}

    def messages(self, topic: str | None, warnings: list[str]) -> Iterator[RawMessage]:
        """Yield the messages of one topic, or of all, in the order of recording, still compressed if they are.

        ``warnings`` receives a line if the file is damaged, or if the clock was set back during the recording.
        """
        set_back, reason = 0.0, ""
        count, last_time = 0, -1
        delivered: Counter[str] = Counter()
        """Number of yielded messages of each topic with the time ``last_time``."""
        try:
            with self._reader() as reader:
                if may_be_set_back(reader):
                    set_back = seconds_set_back(salvage_messages(self.path, []), topic)
                connections = [connection for connection in reader.connections if topic in (None, connection.topic)]
                for connection, time, data in reader.messages(connections) if connections and not set_back else ():
                    if time != last_time:
                        delivered.clear()
                    delivered[connection.topic] += 1
                    count, last_time = count + 1, time
                    yield _raw_message(connection, time, data)
            if not set_back:
                return
        except Exception as error:  # as above
            reason = str(error)
        details: list[str] = []
        for message in salvage_messages(self.path, details):
            if topic not in (None, message.topic) or message.time < last_time:
                continue
            if message.time == last_time and delivered[message.topic] > 0:
                delivered[message.topic] -= 1
                continue
            count += 1
            yield message
        if set_back:
            warnings.append(
                f"{self.path}: the clock was set back by {set_back:.3g} s during the recording; messages are read in "
                "the order in which they were written"
            )
            return
        if not details and self._may_be_sound:
            return  # intact, but with encodings that rosbags does not read
        self.damage = reason
        shown = "".join(f"; {detail}" for detail in details[:MAX_DETAILS])
        messages = f"{count} messages of {topic or 'all topics'}"
        warnings.append(f"{self.path} is damaged or was never closed ({reason}): {messages} were read{shown}")

    @contextmanager
    def _reader(self) -> Iterator[Ros1Reader | Ros2Reader]:
        if self.is_ros1:
            with Ros1Reader(self.path) as reader1:
                yield reader1
        elif self.path.suffix == ".zstd":
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder, self.path.stem)
                decompress_file(self.path, plain)
                with Ros2Reader(plain) as reader2:
                    yield reader2
        else:
            if self.path.suffix == ".db3" and (companions := unfinished_companions(self.path)):
                # rosbags does not read them
                raise FrameSourceError(f"recording was killed and left {companions[0].name}")
            with _plain_path(self.path) as path, Ros2Reader(path) as reader2:
                yield reader2


@contextmanager
def _plain_path(path: Path) -> Iterator[Path]:
    """Yield a path that rosbags can open: it puts the path into a UTF-8 URI, where some characters are special."""
    name = os.fsencode(path.absolute())
    if path.suffix != ".db3" or not (set(b"#?%") & set(name) or name != name.decode(errors="replace").encode()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "bag.db3")
        link.symlink_to(path.absolute())
        yield link


def _encoding(connection: Connection) -> str:
    """Return how the messages of a connection are serialized."""
    return getattr(connection.ext, "serialization_format", ROS1) or CDR


def _raw_message(connection: Connection, time: int, data: bytes) -> RawMessage:
    type_name = canonical_type(connection.msgtype)
    language = {MessageDefinitionFormat.MSG: MSG, MessageDefinitionFormat.IDL: IDL}.get(connection.msgdef.format, "")
    definition = readable_definition(type_name, language, connection.msgdef.data)
    offered_qos = tuple(getattr(connection.ext, "offered_qos_profiles", ()))
    return RawMessage(connection.topic, type_name, time, data, _encoding(connection), definition, offered_qos)
