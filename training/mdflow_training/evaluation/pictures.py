# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Draw estimate and ground truth on one sheet, images, flow, error and confidence; and how well that is calibrated."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mdflow_ros.core.flow_color import confidence_to_color, flow_to_color
from mdflow_training.evaluation.flow_evaluation import Estimate
from mdflow_training.evaluation.flow_pairs import LoadedPair
from mdflow_training.flow_files import Image

ERROR_SCALE = 5.0
"""Error at the end of the color scale, in pixels; larger errors have the same color."""

CAPTION_HEIGHT = 24


def draw_evaluation(pair: LoadedPair, estimate: Estimate) -> Image:
    """Draw a pair: images above, flow and ground truth in the same colors, error and confidence below.

    Returns:
        ``(3 (H + 24), 2 W, 3)`` uint8 RGB.
    """
    scale = max(1.0, float(np.nanmax(np.hypot(pair.ground_truth[..., 0], pair.ground_truth[..., 1]))))
    if estimate.confidence is None:
        confidence = ("no confidence", np.zeros_like(pair.first))
    else:
        confidence = ("confidence, yellow is 1", confidence_to_color(estimate.confidence))
    error_caption = f"error, mean {np.nanmean(estimate.error):.2f} px, red: {ERROR_SCALE:.0f} px or more"
    rows = (
        (("first image", pair.first), ("second image", pair.second)),
        (
            (f"flow, full color: {scale:.1f} px", flow_to_color(estimate.flow, scale)),
            ("true flow, black: unknown", flow_to_color(pair.ground_truth, scale)),
        ),
        ((error_caption, error_to_color(estimate.error)), confidence),
    )
    return np.vstack([np.hstack([with_caption(*tile) for tile in row]) for row in rows])


def error_to_color(error: NDArray[np.float32]) -> Image:
    """Draw errors ``(H, W)``, from blue, none, to red, `ERROR_SCALE` and more; black where unknown."""
    levels = np.nan_to_num(np.minimum(error / ERROR_SCALE, 1) * 255).astype(np.uint8)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)
    bgr[np.isnan(error)] = 0
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def draw_calibration(bins: Sequence[Mapping[str, float]], error: float) -> bytes:
    """Draw a reliability diagram: below the diagonal the confidence is too high, above it too low.

    Args:
        bins: ``calibration`` of `mdflow_training.evaluation.confidence_metrics.ConfidenceMetrics.summary`.
        error: ``ece`` of the same.

    Returns:
        A PNG.
    """
    confidence, right, pixels = (
        [values[name] for values in bins] for name in ("confidence", "right_percent", "pixels_percent")
    )
    axes = (figure := Figure(figsize=(4.8, 4.8), layout="constrained")).subplots()
    axes.plot([0, 1], [0, 100], "--", color="gray", label="perfect")
    axes.bar(confidence, pixels, 0.06, color="lightsteelblue", label="share of the pixels, %")
    axes.plot(confidence, right, "o-", label="right pixels, %")
    axes.set(xlabel="mean confidence", ylabel="%", xlim=(0, 1), ylim=(0, 100), title=f"ECE {error:.3f}")
    axes.legend(loc="upper left")
    return figure_to_png(figure, 100)


def figure_to_png(figure: Figure, dots_per_inch: float) -> bytes:
    """Encode a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def with_caption(caption: str, picture: Image) -> Image:
    """Put a line of text over a picture."""
    strip = np.full((CAPTION_HEIGHT, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack((strip, picture))
