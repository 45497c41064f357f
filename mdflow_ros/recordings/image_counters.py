# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the numbers of images that count from below zero or in hexadecimal, as ``-1.png`` and ``frame_000a.png``."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise, takewhile
from pathlib import Path
from string import hexdigits

_SIGNED = re.compile(r"-?\d+")
_HEXADECIMAL = (re.compile(r"[\da-f]+"), re.compile(r"[\dA-F]+"))


def unusual_numbers(images: list[Path]) -> dict[Path, int]:
    """Return the number of each image, in ascending order, if the names count in one of these ways; else nothing.

    All names must be equal but for the number. Hexadecimal numbers must end in digits and in letters, and ascend in
    equal steps most of the time: the letters of hashes, and of cameras as in ``001a.png``, are no digits.
    """
    texts = _different_parts([path.stem for path in images])
    if all(map(_SIGNED.fullmatch, texts)) and 0 < sum(text.startswith("-") for text in texts) < len(texts):
        return _ascending(images, [int(text) for text in texts])
    ends_in_letter = {text[-1:].isalpha() for text in texts}
    if len(ends_in_letter) < 2 or not any(all(map(form.fullmatch, texts)) for form in _HEXADECIMAL):
        return {}
    numbers = _ascending(images, [int(text, 16) for text in texts])
    steps = Counter(after - before for before, after in pairwise(numbers.values()))
    return numbers if 2 * max(steps.values(), default=0) >= len(numbers) - 1 else {}


def _different_parts(names: list[str]) -> list[str]:
    """Return the names without what all begin and end with, but with all digits of their numbers."""
    start = len(_common_start(names).rstrip(hexdigits))
    end = len(_common_start([name[start:][::-1] for name in names]).rstrip(hexdigits))
    return [name[start : len(name) - end] for name in names]


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # all others are between them in the order of letters
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in equal)


def _ascending(images: list[Path], numbers: list[int]) -> dict[Path, int]:
    return dict(sorted(zip(images, numbers, strict=True), key=lambda item: item[1]))
