# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Counters and statistics of the node, reported on /diagnostics."""

from __future__ import annotations

import time
from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mdflow_ros.core.rolling_statistics import RollingStatistics


class FlowCounters:
    """Counts since the node was started, and statistics of the last seconds.

    Attributes:
        frames_skipped: images skipped because of ``max_rate``.
        last_frame_time: monotonic time at which the last image arrived, seconds; ``None`` before the first.
        last_pair_has_contrast: whether both images of the last pair show anything; ``None`` before the first pair.
        last_refusal: why the last image was refused; ``None`` once a later image is decoded.
    """

    def __init__(self) -> None:
        self.frames_received = 0
        self.frames_skipped = 0
        self.frames_corrupt = 0
        self.frames_unsupported = 0
        self.inference_failures = 0
        self.pairs_computed = 0
        self.pairs_published = 0
        self.pairs_without_contrast = 0
        self.last_pair_has_contrast: bool | None = None
        self.last_frame_time: float | None = None
        self.last_refusal: str | None = None
        self.inference_ms = RollingStatistics()
        self.latency_ms = RollingStatistics()
        self.confidence = RollingStatistics()

    def frame_received(self) -> None:
        """Count a message from the camera."""
        self.frames_received += 1
        self.last_frame_time = time.monotonic()

    def note_contrast(self, contrast: bool) -> None:
        """Note whether both images of a pair show anything."""
        self.last_pair_has_contrast = contrast
        self.pairs_without_contrast += not contrast

    def pair_published(self, inference_ms: float, latency_ms: float | None, mean_confidence: float | None) -> None:
        """Count a published pair.

        Args:
            inference_ms: time of the estimate.
            latency_ms: time from the image's stamp to publishing; ``None`` if it is unknown.
            mean_confidence: over the image, in [0, 1]; ``None`` if it was not computed.
        """
        now = time.monotonic()
        self.pairs_published += 1
        self.inference_ms.add(inference_ms, now)
        if latency_ms is not None:
            self.latency_ms.add(latency_ms, now)
        if mean_confidence is not None:
            self.confidence.add(mean_confidence, now)

    def values(self) -> dict[str, str]:
        """Return everything as the keys and values of a diagnostic status."""
        now = time.monotonic()
        inference, latency = self.inference_ms.summary(now), self.latency_ms.summary(now)
        confidence = self.confidence.summary(now)
        return {
            "rate_hz": f"{inference.rate:.2f}" if inference else "0.00",
            "pairs_computed": str(self.pairs_computed),
            "pairs_published": str(self.pairs_published),
            "pairs_without_contrast": str(self.pairs_without_contrast),
            "frames_received": str(self.frames_received),
            "frames_skipped": str(self.frames_skipped),
            "frames_corrupt": str(self.frames_corrupt),
            "frames_unsupported": str(self.frames_unsupported),
            "inference_failures": str(self.inference_failures),
            "inference_ms_mean": f"{inference.mean:.1f}" if inference else "",
            "inference_ms_p95": f"{inference.p95:.1f}" if inference else "",
            "latency_ms_mean": f"{latency.mean:.1f}" if latency else "",
            "latency_ms_p95": f"{latency.p95:.1f}" if latency else "",
            "mean_confidence": f"{confidence.mean:.3f}" if confidence else "",
        }


def diagnostic_array(
    stamp: Time, name: str, hardware_id: str, level: bytes, summary: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """Return a message with one status."""
    status = DiagnosticStatus(level=level, name=name, message=summary, hardware_id=hardware_id)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
