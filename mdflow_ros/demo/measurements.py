# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Counts and times of a run of the flow recorder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RATE_WINDOW_SECONDS = 3.0
LIVE_PAIRS = 20


@dataclass
class Measurements:
    """Measurements of a run.

    Attributes:
        images_received: number of received camera images.
        frames_published: number of frames that the camera reports; None if it does not.
        pairs_computed: number of pairs since its start that the node reports; None if it does not.
        backend: of the node.
        model_sha256: of the node's model.
        size: height and width of the flow in pixels.
        dropped: number of frames without flow, up to the last pair.
        received: monotonic time at which each pair was complete, seconds.
        latencies: seconds from the newer image's stamp to that time.
        confidences: mean of each confidence image.
        messages: number of received messages by topic.
    """

    images_received: int = 0
    frames_published: int | None = None
    pairs_computed: int | None = None
    backend: str | None = None
    model_sha256: str | None = None
    size: tuple[int, int] = (0, 0)
    dropped: int = 0
    received: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    messages: Counter[str] = field(default_factory=Counter)

    def add_pair(self, received: float, latency: float, confidence: float, frame_number: int | None) -> float:
        """Count a pair.

        Args:
            received: seconds of the monotonic clock.
            latency: seconds.
            confidence: mean over the image.
            frame_number: number of the newer image, counted from 1; ``None`` if it was not received.

        Returns:
            Seconds since the first pair.
        """
        self.received.append(received)
        self.latencies.append(latency)
        self.confidences.append(confidence)
        if frame_number is not None:
            self.dropped = max(0, frame_number - 1 - len(self.received))
        return received - self.received[0]

    def rate(self, window: float = float("inf")) -> float:
        """Return the pairs per second in the ``window`` seconds before the last pair."""
        times = [moment for moment in self.received if moment >= self.received[-1] - window]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def latency_ms(self, percent: float, last: int = 0) -> float | None:
        """Return a percentile of the last ``last`` latencies (0 for all) in ms, or None if there are none."""
        latencies = self.latencies[-last:]
        return round(1000 * float(np.percentile(latencies, percent)), 1) if latencies else None

    def live_line(self) -> str:
        """Describe the last seconds in one line."""
        if not self.received:
            return f"waiting for flow    {self.images_received} images seen"
        return (
            f"{self.received[-1] - self.received[0]:6.1f} s    {self.rate(RATE_WINDOW_SECONDS):4.1f} Hz    "
            f"latency {self.latency_ms(50, last=LIVE_PAIRS):.0f} ms    "
            f"{len(self.received)} pairs, {self.dropped} dropped    mean confidence {self.confidences[-1]:.2f}"
        )

    def summary(self) -> dict[str, Any]:
        """Return the contents of ``summary.json``.

        ``dropped`` counts the frames without flow, except for the first one, which has no predecessor.
        """
        pairs = len(self.received)
        frames = max(self.images_received, self.frames_published or 0)  # the camera's own count may be a second old
        return {
            "frames_published": frames,
            "pairs_computed": self.pairs_computed,
            "pairs_received": pairs,
            "rate_hz": round(self.rate(), 2),
            "latency_ms_p50": self.latency_ms(50),
            "latency_ms_p95": self.latency_ms(95),
            "dropped": max(0, frames - 1 - pairs),
            "backend": self.backend,
            "model_sha256": self.model_sha256,
            "mean_confidence": round(float(np.mean(self.confidences)), 4) if self.confidences else None,
            "messages_received": {"image": self.images_received, **self.messages},
        }
