# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines for comparison: OpenCV's classical flow methods, and zero flow as the trivial reference."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Flow, Image

GrayImage = NDArray[np.uint8]
Baseline = Callable[[Image, Image], Flow]
"""Estimates the flow ``(H, W, 2)``, in pixels, between two ``(H, W, 3)`` uint8 RGB images."""


def zero_flow(first: Image, second: Image) -> Flow:
    """Return zero flow."""
    return np.zeros((*first.shape[:2], 2), np.float32)


def dis_flow(preset: int) -> Baseline:
    """Return OpenCV's dense inverse search (Kroeger et al., ECCV 2016) with one of its presets."""
    search = cv2.DISOpticalFlow.create(preset)

    def estimate(first: Image, second: Image) -> Flow:
        return search.calc(*_gray(first, second), None)  # type: ignore[call-overload]

    return estimate


def farneback_flow(first: Image, second: Image) -> Flow:
    """Estimate polynomial expansion flow (Farnebäck, SCIA 2003), with the parameters of OpenCV's samples."""
    return farneback_of_gray(*_gray(first, second))


def farneback_of_gray(first: GrayImage, second: GrayImage) -> Flow:
    """Estimate Farnebäck's flow of gray images ``(H, W)`` uint8; see `farneback_flow`."""
    flow = cv2.calcOpticalFlowFarneback(
        first,
        second,
        None,  # type: ignore[call-overload]
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )
    return np.asarray(flow, np.float32)


def create_baselines() -> dict[str, Baseline]:
    """Return every baseline by name."""
    return {
        "zero_flow": zero_flow,
        "dis_fast": dis_flow(cv2.DISOPTICAL_FLOW_PRESET_FAST),
        "dis_medium": dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
        "farneback": farneback_flow,
    }


def _gray(first: Image, second: Image) -> tuple[GrayImage, GrayImage]:
    gray = (np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (first, second))
    return next(gray), next(gray)
