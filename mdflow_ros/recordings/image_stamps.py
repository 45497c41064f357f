# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find the times of the images of a folder, by their names, by a file of times, or by their numbers."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

import numpy as np

from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.recordings.image_counters import unusual_numbers
from mdflow_ros.recordings.image_series import NUMBER
from mdflow_ros.recordings.stamps import MAX_DISORDER, SHORTEST_INTERVAL

ASSUMED_INTERVAL = 33_333_333
"""Interval in ns between images with consecutive numbers and unknown times: 30 Hz."""

STAMP_UNITS = {19: 1, 16: 1_000, 13: 1_000_000}
"""Integers of this many digits are times since 1970; the factor makes them ns."""

PLAUSIBLE_INTERVALS = (SHORTEST_INTERVAL, 60_000_000_000)
"""Range of the typical interval between two images, ns. A counter that is padded with zeros like a time is outside."""

FRACTION_UNITS = (1, 1_000_000, 1_000)
"""Units of the second number in names such as ``1581624663_149``, ns, in the order in which they are tried."""

TIME_UNITS = (NANOSECONDS, 10**6, 10**3, 1)
"""Units of the numbers in a file of times, and of names with a decimal point, ns, in the order in which they are tried:
s, ms, us, ns."""

MAX_USUAL_INTERVAL = 2_000_000_000
"""Times with longer intervals, in ns, are taken to be in a smaller unit."""

MILLISECOND = 1_000_000

EPOCH = (1_262_304_000 * NANOSECONDS, 2_208_988_800 * NANOSECONDS)
"""The years 2010 to 2039, in ns since 1970."""

LAST_STAMP = 2**63 - 1
"""Stamps are 64-bit numbers."""

CLIP_GAP = 1_000_000_000
"""Gap in ns between the clips of a folder whose numbers start again, as in ``clip01_0001.png``, ``clip02_0001.png``."""

TIME_FILES = (
    *("timestamps.txt", "times.txt", "data.csv", "rgb.txt", "images.txt", "left_images.txt", "right_images.txt"),
    *("timestamps.csv", "times.csv"),
)
"""Usual names of files with one time per line, in the folder of the images or up to two above it, as in the data sets
KITTI, TUM, EuRoC, UZH-FPV and DSEC."""

MAX_LINE_BYTES = 1000
"""Files of times with more bytes for each image hold something else, such as the events of an event camera."""

TIME_FILE_SUFFIXES = (".txt", ".csv", ".tsv")

_DECIMAL = re.compile(r"(\d{5,}|\d+(?=\.\d\d))\.(\d+)")  # 1.5 is more often a version
_DECIMAL_AT_END = re.compile(r".*?[^\d.](\d+\.\d{2,})")
_DECIMAL_COMMA = re.compile(r"(\d+),\d+")
_FRACTION = re.compile(r"\d{9,10}\.(\d{1,9})(?!\d)")
_SECONDS_NANOSECONDS = re.compile(r"(?<!\S)(\d{9,10})\s+(\d{1,9})(?!\S)")
_DATE = re.compile(
    r"(?:.*[^\d])?((?:19|20)\d\d)-?(\d\d)-?(\d\d)[ T_-]?(\d\d)[:_.-]?(\d\d)[:_.-]?(\d\d)"
    r"(?:\.(\d{1,9})|[_-]?(\d{3}|\d{6}|\d{9}))(?:[^\d].*)?",
    re.DOTALL,
)
_NAME = re.compile(r"(?:.*?[^\d])?(?:(\d{9,10})[._-](\d{1,9})|(\d{19}|[1-9]\d{15}|[1-9]\d{12}))(?:[^\d].*)?", re.DOTALL)


def stamp_images(images: list[Path], warnings: list[str]) -> dict[Path, int]:
    """Return the images of a folder in the order of their stamps, in ns.

    The times come from, in order of preference: times in the names (see `stamp_in_name`), if most names have one; times
    since the computer started, in plain nanoseconds; a file of `TIME_FILES`; the numbers in the names at 30 Hz, where a
    missing number is a missing image; the order of the names at 30 Hz, where a new clip begins if the last number
    starts again.

    Args:
        images: in the natural order of their names, all in one folder.
        warnings: receives a line for images that are left out, for a file of times that does not fit, and if 30 Hz is
            assumed.
    """
    folder = images[0].parent
    numbers = list(unusual_numbers(images).values()) or _numbers(images)
    named = _named_stamps(images)
    if named and not _plausible(named.values(), MAX_USUAL_INTERVAL):
        named = _in_smaller_unit(named) or named
    if named:
        left_out = [path.name for path in images if path not in named]
        if left_out:
            warnings.append(
                f"{folder}: {len(left_out)} images are left out, as their names hold no time stamp: "
                f"{', '.join(left_out[:3])}"
            )
        return dict(sorted(named.items(), key=lambda item: item[1]))
    if numbers and len(images) > 1 and _plausible(numbers):
        return dict(zip(images, numbers, strict=True))
    listed = _read_times(folder, images, warnings)
    if listed:
        stamped = zip(images, listed, strict=True)
        return dict(stamped if _ascend(listed) else sorted(stamped, key=lambda item: item[1]))
    warnings.append(f"{folder}: no times in the names of the images or in {', '.join(TIME_FILES)}; 30 Hz is assumed")
    if not numbers:
        return dict(zip(images, _clip_stamps(images), strict=True))
    step = int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1
    return {
        path: (number - numbers[0]) * ASSUMED_INTERVAL // step for path, number in zip(images, numbers, strict=True)
    }


def time_files(folder: Path) -> list[Path]:
    """Return the files that may hold the times of the images of a folder, from it and up to two folders above it.

    These are files of `TIME_FILES`, then those with ``time`` or ``stamp`` or the name of the folder in their names.
    """
    folders = (folder, *folder.absolute().parents[:2])
    usual = [path for above in folders for name in TIME_FILES if (path := above / name).is_file()]
    others = [
        path
        for above in folders
        if os.access(above, os.R_OK)
        for path in sorted(above.iterdir())
        if path.suffix in TIME_FILE_SUFFIXES and path.name not in TIME_FILES and path.is_file()
    ]
    return usual + [path for path in others if _may_hold_times(path.stem.lower(), folder.name.lower())]


def _may_hold_times(stem: str, folder: str) -> bool:
    return "time" in stem or "stamp" in stem or stem == folder


def _named_stamps(images: list[Path]) -> dict[Path, int]:
    """Return the times in names, in ns; empty if most names have none, or if the times are implausible."""
    names = {path: path.stem for path in images}
    decimals = {path: match[1] for path, name in names.items() if (match := _DECIMAL_AT_END.fullmatch(name))}
    starts = {name.removesuffix(decimals.get(path, "")) for path, name in names.items()}
    names = decimals if len(decimals) == len(images) and len(starts) == 1 else names
    whole = _nanoseconds_are_whole(names.values())
    decimal_unit = _decimal_unit(names.values())
    for unit in FRACTION_UNITS:
        stamps = {path: stamp_in_name(name, whole, unit, decimal_unit) for path, name in names.items()}
        found = {path: stamp for path, stamp in stamps.items() if stamp is not None}
        if 2 * len(found) > len(images) and _plausible(found.values()) and not _are_bursts(found):
            return found
    return {}


def _in_smaller_unit(named: dict[Path, int]) -> dict[Path, int]:
    """Return the times of names of digits alone in a unit in which their intervals are usual; empty if there is none.

    A computer that has run for two weeks has 16 digits of nanoseconds, or 13 of microseconds. Times in `EPOCH` are
    taken to be those of images at long intervals.
    """
    if EPOCH[0] < min(named.values()) < EPOCH[1]:
        return {}
    for divisor in (1_000, 1_000_000):
        smaller = {path: stamp // divisor for path, stamp in named.items()}
        if all(path.stem.isdecimal() for path in named) and _plausible(smaller.values(), MAX_USUAL_INTERVAL):
            return smaller
    return {}


def _are_bursts(stamps: dict[Path, int]) -> bool:
    """Tell whether the three digits after dates count the images of bursts, as in ``20240131_123059_001.jpg``."""
    dates = [match for path in stamps if (match := _DATE.fullmatch(path.stem)) and len(match[8] or "") == 3]
    steps = np.diff(sorted(stamps.values()))
    return len(stamps) > 1 and len(dates) == len(stamps) and np.median(steps) == MILLISECOND


def _nanoseconds_are_whole(texts: Iterable[str]) -> bool:
    """Tell ``f"{sec}.{nanosec}"`` from decimal seconds: the numbers of digits differ, and the largest is nine."""
    lengths = {len(match[1]) for text in texts if (match := _FRACTION.search(text))}
    return len(lengths) > 1 and max(lengths) == 9


def _decimal_unit(names: Iterable[str]) -> int:
    """Return the unit of names with a decimal point, in ns: seconds, unless the intervals would be too long.

    RealSense's ``get_timestamp()`` is in milliseconds, as in ``1581624663149.25.png``.
    """
    numbers = [Decimal(name) for name in names if _DECIMAL.fullmatch(name)]
    for longest in (MAX_USUAL_INTERVAL, PLAUSIBLE_INTERVALS[1]):
        for unit in TIME_UNITS:
            if _plausible((int(number * unit) for number in numbers), longest):
                return unit
    return TIME_UNITS[0]


def stamp_in_name(
    name: str, nanoseconds_are_whole: bool = False, unit: int = 1, decimal_unit: int = TIME_UNITS[0]
) -> int | None:
    """Return the time in a file's name (without suffix), in ns, or ``None``.

    Supported are 19 digits (ns), 16 (us), 13 (ms), ``sec.nsec``, ``sec_nsec``, a number with a decimal point, and dates
    such as ``2024-01-31_12-30-59.250``.

    Args:
        name: of the file.
        nanoseconds_are_whole: whether digits after the point are nanoseconds without leading zeros, not decimals.
        unit: of the second number of ``sec_nsec``, in ns; if that number is a second or more, it is not a time.
        decimal_unit: of a name that is a number with a decimal point, in ns.
    """
    decimal = _DECIMAL.fullmatch(name)
    if decimal and decimal_unit != TIME_UNITS[0]:
        return int(Decimal(name) * decimal_unit)
    if decimal:
        return int(decimal[1]) * NANOSECONDS + _to_nanoseconds(decimal[2], nanoseconds_are_whole)
    date = _date_to_ns(name)
    if date is not None:
        return date
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    seconds, fraction, digits = match.groups()
    if digits:
        return int(digits) * STAMP_UNITS[len(digits)]
    # Digits after a point are decimals; after another character they are whole nanoseconds, or of the given unit.
    if name[match.end(1)] == ".":
        return int(seconds) * NANOSECONDS + _to_nanoseconds(fraction, nanoseconds_are_whole)
    nanoseconds = int(fraction) * unit
    return int(seconds) * NANOSECONDS + nanoseconds if nanoseconds < NANOSECONDS else None


def _to_nanoseconds(digits: str, whole: bool) -> int:
    return int(digits if whole else digits.ljust(9, "0")[:9])


def _date_to_ns(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, whole = (int(part) for part in match.groups()[:6])
    try:
        second = datetime(year, month, day, hour, minute, whole, tzinfo=timezone.utc)
    except ValueError:
        return None
    return int(second.timestamp()) * NANOSECONDS + int((match[7] or match[8]).ljust(9, "0"))


def _plausible(stamps: Iterable[int], longest: int = PLAUSIBLE_INTERVALS[1]) -> bool:
    """Return whether these times, in ns, can be those of a camera's images. A single time is always plausible."""
    ordered = sorted(stamps)
    if ordered and ordered[-1] > LAST_STAMP:
        return False
    steps = sorted(after - before for before, after in pairwise(ordered))
    return not steps or PLAUSIBLE_INTERVALS[0] <= steps[len(steps) // 2] <= longest


def _numbers(images: list[Path]) -> list[int]:
    """Return the last number in each name; empty if the names are not numbered in ascending order."""
    found = [NUMBER.findall(path.stem) for path in images]
    numbers = [int(digits[-1]) for digits in found if digits]
    ascending = all(before < after for before, after in pairwise(numbers))
    return numbers if len(numbers) == len(images) and ascending else []


def _clip_stamps(images: list[Path]) -> list[int]:
    """Return stamps in ns at 30 Hz, with a gap where the last number starts again and another number changes."""
    numbers = [tuple(int(number) for number in NUMBER.findall(path.stem)) for path in images]
    stamps, clips = [0], 1
    for before, after in pairwise(numbers):
        starts_again = len(before) == len(after) >= 2 and before[:-1] != after[:-1] and after[-1] <= before[-1]
        clips += starts_again
        stamps.append(stamps[-1] + (CLIP_GAP if starts_again else ASSUMED_INTERVAL))
    one_image_each = 2 * clips > len(images)
    return [number * ASSUMED_INTERVAL for number in range(len(images))] if one_image_each else stamps


def _read_times(folder: Path, images: list[Path], warnings: list[str]) -> list[int]:
    """Return the times in ns from a file in the folder of the images or above it; empty if there is none."""
    small = (path for path in time_files(folder) if path.stat().st_size < MAX_LINE_BYTES * (len(images) + 100))
    lines_of = {path: _lines_of(path) for path in small}
    named_in = {path: _lines_by_name(lines, images) for path, lines in lines_of.items()}
    for path in sorted(lines_of, key=lambda path: not named_in[path]):  # another file may be of another camera's images
        named = named_in[path]
        lines = named or lines_of[path]
        if len(lines) == len(images) + 1 and _time_of_line(lines[0]) is None:
            lines = lines[1:]  # the names of the columns
        choices = _possible_times(lines)
        if len(choices[0]) != len(images) or len(lines) != len(images):
            if path.name in TIME_FILES:
                warnings.append(
                    f"{path} is not used: {len(choices[0])} times in {len(lines)} lines, but {len(images)} images"
                )
            continue
        # Lines without names are in the order of the images: what does not ascend is no time, such as the exposure.
        choices = [times for times in choices if len(times) == len(images)]
        ascending = [times for times in choices if _ascend(times)]
        choices = ascending + [times for times in choices if named and times not in ascending]
        for longest in (MAX_USUAL_INTERVAL, PLAUSIBLE_INTERVALS[1]):
            for times in choices:
                if _plausible(times, longest):
                    return times
        reason = "are too close together or too far apart, in every unit" if choices else "repeat or go back"
        warnings.append(f"{path} is not used: its times {reason}")
    return []


def _possible_times(lines: list[str]) -> list[list[int]]:
    """Return the possible times of a file, ns, one list for each column and unit, likeliest first, counters last."""
    whole = _nanoseconds_are_whole(lines)
    choices: list[list[int]] = []
    counts: list[list[int]] = []
    columns = max((len(line.split()) for line in lines), default=0)
    for column in (1, 0, *range(2, columns)):
        for unit in TIME_UNITS:
            read = (_time_of_line(line, whole, unit, column) for line in lines)
            times = [time for time in read if time is not None]
            (counts if set(np.diff(np.array(times, object))) == {unit} else choices).append(times)
    return choices + counts


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a file of times, with decimal points and separated by spaces, without comments."""
    content = path.read_bytes()
    # Windows' PowerShell writes UTF-16.
    text = content.decode("utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig", errors="replace")
    # The last line of a spreadsheet's CSV may consist of commas.
    lines = [line.replace('"', "").strip(" ,;\t") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    wholes = [whole for line in lines if (whole := _DECIMAL_COMMA.sub(r"\1", line)) != line]
    # "0,033" alone may be a number and a time, but numbers of images do not repeat.
    decimal_comma = any(";" in line for line in lines) or (len(wholes) == len(lines) and len(set(wholes)) < len(wholes))
    return _join_seconds([line.replace(",", "." if decimal_comma else " ").replace(";", " ") for line in lines])


def _join_seconds(lines: list[str]) -> list[str]:
    """Return the lines with one number of seconds where two columns hold the seconds and nanoseconds of ROS."""
    found = [match for line in lines if (match := _SECONDS_NANOSECONDS.search(line))]
    if len(found) < len(lines) - 1 or max((int(match[2]) for match in found), default=0) < MILLISECOND:
        return lines
    return [_SECONDS_NANOSECONDS.sub(lambda match: f"{match[1]}.{int(match[2]):09d}", line) for line in lines]


def _ascend(times: list[int]) -> bool:
    """Return whether the times ascend, but for a few that repeat or go back, as when the clock was set back."""
    steps = np.diff(np.array(times, object))
    return len(times) < 2 or bool(np.mean(steps <= 0) <= MAX_DISORDER)


def _lines_by_name(lines: list[str], images: list[Path]) -> list[str]:
    """Return the lines in the order of the images that they name, without names that look like times.

    If no column holds the names, nothing is returned, and the lines are taken to be in the order of the images.
    """
    rows = [words for words in map(str.split, lines) if len(words) > 1]
    for column in range(max(map(len, rows), default=0)):
        named = {re.split(r"[/\\]", words[column])[-1]: words for words in rows if len(words) > column}
        found = [named.get(image.name) or named.get(image.stem, []) for image in images]
        # Numbers without a suffix are the names only if they name every image; otherwise they count something else.
        if all(found) or any(image.name in named for image in images):
            return [words[0] if column == 1 else " ".join(words) for words in found if words]
    return []


def _time_of_line(
    line: str, nanoseconds_are_whole: bool = False, unit: int = NANOSECONDS, column: int = 1
) -> int | None:
    """Return the time in ns in a line of a file of times: a date, or a multiple of ``unit``.

    Supported are ``TIME``, ``NAME TIME``, ``NAME TIME EXPOSURE`` and, if the name is not a number, ``TIME NAME``; with
    ``column`` 0, ``TIME EXPOSURE``; with ``column`` 2, ``NAME EXPOSURE TIME``.
    """
    date = _date_to_ns(line)
    if date is not None:
        return date
    words = line.split()
    text = words[column] if len(words) > column and _is_number(words[column]) else words[0]
    if text.isdecimal() and len(text) in STAMP_UNITS:
        return int(text) * STAMP_UNITS[len(text)]
    if nanoseconds_are_whole and (parts := _DECIMAL.fullmatch(text)):
        return int(parts[1]) * NANOSECONDS + _to_nanoseconds(parts[2], whole=True)
    try:
        return int(Decimal(text) * unit)
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
