# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Time an estimator in a separate process, which `run.py` starts; the estimator may be that of another checkout.

The process reads lines ``QUALITY BACKEND WIDTHxHEIGHT CONFIDENCE`` and answers each line with the seconds that a frame
of a stream takes.
"""

import sys
import time
from typing import Any

import cv2
import numpy as np

try:
    from mdflow_ros.estimator import FlowEstimator
except ImportError:  # commit 00190b4
    from mdflow_ros.core.estimator import FlowEstimator  # type: ignore[no-redef]
from mdflow_ros.backends.backend import BackendOptions

FRAMES = 5
STREAMS = hasattr(FlowEstimator, "encode")


def frames_of(width: int, height: int) -> list[np.ndarray]:
    """Return a stream of images ``(H, W, 3)`` of a moving texture."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return [np.roll(texture, (shift, 2 * shift), (0, 1)) for shift in range(FRAMES + 1)]


def main() -> None:
    """Answer requests until the input ends."""
    threads = int(sys.argv[1])
    cv2.setNumThreads(threads)
    estimators: dict[tuple[str, str, tuple[int, int] | None], FlowEstimator] = {}
    for line in sys.stdin:
        quality, backend, size_text, with_confidence = line.split()
        width, height = map(int, size_text.split("x"))
        key = quality, backend, (width, height) if backend == "tensorrt" else None  # a TensorRT engine has a fixed size
        if key not in estimators:
            extra: dict[str, Any] = {"quality": quality} if STREAMS else {}
            estimators[key] = FlowEstimator(
                backend=backend, inference_size=key[2], options=BackendOptions(threads=threads), **extra
            )
        estimator = estimators[key]
        frames = frames_of(width, height)
        older, seconds = estimator.encode(frames[0]) if STREAMS else frames[0], []
        for frame in frames[1:]:
            start = time.perf_counter()
            newer = estimator.encode(frame) if STREAMS else frame
            estimator.estimate(older, newer, with_confidence == "1")
            seconds.append(time.perf_counter() - start)
            older = newer
        print(float(np.median(seconds)), flush=True)


if __name__ == "__main__":
    main()
