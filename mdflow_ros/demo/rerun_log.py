# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Log images, flow and confidence for the rerun viewer, each at the time of its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from mdflow_ros.core.flow_color import ColorScale, confidence_to_color, flow_to_color

TIMELINE = "image time"
JPEG_QUALITY = 85


class RerunLog:
    """Writes to a rerun recording.

    Args:
        save: file to write.
        connect: URL of a running viewer. Without either, a viewer is started.

    Raises:
        ValueError: the URL is invalid, or the viewer cannot be started.
    """

    def __init__(self, save: Path | None = None, connect: str | None = None) -> None:
        views = [rrb.Spatial2DView(origin=name, name=name) for name in ("image", "flow", "confidence")]
        curves = rrb.TimeSeriesView(origin="curves", name="median motion (px) and mean confidence")
        blueprint = rrb.Blueprint(rrb.Vertical(rrb.Horizontal(*views), curves, row_shares=[3, 1]))
        self._recording = rr.RecordingStream("mdflow_ros")
        self._scale = ColorScale()
        if save is not None:
            self._recording.save(save, default_blueprint=blueprint)
            return
        try:
            if connect is not None:
                self._recording.connect_grpc(connect, default_blueprint=blueprint)
            else:
                self._recording.spawn(default_blueprint=blueprint)
        except RuntimeError as error:
            what = f"--connect {connect}" if connect is not None else "the viewer cannot be started"
            raise ValueError(
                f"{what}: {_first_line(error)}. Give the URL of a running viewer, such as "
                "rerun+http://127.0.0.1:9876/proxy, or --save a file"
            ) from error

    def log_image(self, stamp: int, image: NDArray[np.uint8]) -> None:
        """Log an image ``(H, W, 3)`` RGB; ``stamp`` in ns."""
        self._log(stamp, "image", rr.Image(image).compress(jpeg_quality=JPEG_QUALITY))

    def log_flow(self, stamp: int, flow: NDArray[np.float32]) -> None:
        """Log flow ``(H, W, 2)`` in pixels, as colors, and the median of its length; ``stamp`` in ns."""
        picture = flow_to_color(flow, self._scale.follow(flow))
        self._log(stamp, "flow", rr.Image(picture).compress(jpeg_quality=JPEG_QUALITY))
        lengths = np.linalg.norm(flow, axis=-1)
        if np.isfinite(lengths).any():
            self._log(stamp, "curves/median_motion", rr.Scalars(float(np.nanmedian(lengths))))

    def log_confidence(self, stamp: int, confidence: NDArray[np.float32]) -> None:
        """Log a confidence ``(H, W)`` in [0, 1], as colors, and its mean; ``stamp`` in ns."""
        picture = confidence_to_color(confidence)
        self._log(stamp, "confidence", rr.Image(picture).compress(jpeg_quality=JPEG_QUALITY))
        self._log(stamp, "curves/mean_confidence", rr.Scalars(float(confidence.mean())))

    def close(self) -> None:
        """Write all remaining data.

        Raises:
            ValueError: the viewer cannot be reached, or the disk is full.
        """
        try:
            self._recording.flush()
        except RuntimeError as error:
            raise ValueError(
                f"not everything could be written: {_first_line(error)}. Is the viewer running? Is the disk full?"
            ) from error
        finally:
            self._recording.disconnect()

    def _log(self, stamp: int, entity: str, value: rr.AsComponents) -> None:
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(stamp, "ns"))
        self._recording.log(entity, value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
