# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Images of more than 8 bits: one range for both images of a pair, steady over a recording."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdflow_ros.core import intensity
from mdflow_ros.core.intensity import IntensityStretch, has_contrast
from mdflow_ros.core.region import Region


def texture(low: float, high: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (48, 64))


@settings(max_examples=50, deadline=None)
@given(low=st.integers(0, 40_000), span=st.integers(40, 25_000), dtype=st.sampled_from([np.uint16, np.float32]))
def test_any_part_of_the_range_is_used(low: int, span: int, dtype: type) -> None:
    stretch = IntensityStretch()
    pictures = [stretch.convert(texture(low, low + span, seed).astype(dtype)) for seed in range(5)]
    assert stretch.changes == 1
    for picture in pictures:
        assert picture.std() > 35 and 90 < picture.mean() < 165
        assert np.mean((picture == 0) | (picture == 255)) < 0.01


def test_a_full_range_stays_as_it_is() -> None:
    stretch = IntensityStretch()
    samples = texture(0, 60_000).astype(np.uint16)
    assert stretch.range is None
    np.testing.assert_allclose(stretch.convert(samples), samples / 257, atol=1)
    assert stretch.range == (0, 65_535)


def test_small_changes_of_light_keep_the_range_and_large_ones_set_it_anew() -> None:
    stretch = IntensityStretch()
    for factor in (1.0, 1.1, 0.9, 1.15):
        stretch.convert((1000 + texture(0, 2000) * factor).astype(np.uint16))
    assert stretch.changes == 1
    stretch.convert(texture(6000, 9000).astype(np.uint16))
    assert stretch.changes == 2


def test_noise_without_contrast_is_not_stretched_to_a_picture() -> None:
    stretch = IntensityStretch()
    assert stretch.convert(texture(8000, 8005).astype(np.uint16)).std() < 5
    stretch.convert(texture(7000, 9000).astype(np.uint16))
    assert stretch.changes == 2


def test_nan_and_infinity_are_black() -> None:
    samples = texture(1, 5).astype(np.float32)
    samples[0, :3] = np.nan, np.inf, -np.inf
    picture = IntensityStretch().convert(samples)
    assert picture[0, :3].tolist() == [0, 0, 0]
    assert picture.std() > 35, "they do not set the range"
    assert IntensityStretch().convert(np.full((4, 4), np.nan, np.float32)).tolist() == [[0] * 4] * 4


def test_a_given_range_is_kept() -> None:
    stretch = IntensityStretch([1000, 2000])
    samples = np.array([[0, 1000, 1500, 2000, 9000]], np.uint16)
    assert stretch.convert(samples).tolist() == [[0, 0, 128, 255, 255]]
    assert stretch.changes == 0


@pytest.mark.parametrize(
    "wrong", [[1, 1], [2, 1], [1], [1, 2, 3], [0, float("nan")], "automatic", 3, "12", ["1", "2"], [False, True]]
)
def test_a_wrong_range_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="intensity_range must be auto or"):
        IntensityStretch(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [149, 200, 480])
def test_no_more_samples_are_looked_at_than_said(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    percentile, spread = np.percentile, intensity._spread
    monkeypatch.setattr(np, "percentile", lambda s, *rest: counts.append(s.size) or percentile(s, *rest))
    monkeypatch.setattr(intensity, "_spread", lambda s: counts.append(s.size) or spread(s))
    image = np.zeros((side, side), np.uint16)
    IntensityStretch().convert(image)
    has_contrast(image.astype(np.uint8)[..., None])
    assert len(counts) == 2 and max(counts) <= intensity.MAX_SAMPLES


def test_eight_bits_pass_unchanged() -> None:
    samples = texture(0, 255).astype(np.uint8)
    assert IntensityStretch().convert(samples) is samples


def test_negative_intensities_keep_their_range() -> None:
    stretch = IntensityStretch()
    samples = np.random.default_rng(0).integers(-30_000, 30_000, (40, 60)).astype(np.int16)
    converted = stretch.convert(samples)
    stretch.convert(samples[::-1])
    assert stretch.changes == 1
    assert 0.3 < np.mean(converted > 127) < 0.7 and np.mean(converted == 0) < 0.01


def test_one_color_everywhere_shows_nothing() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (0, 135, 0)
    assert not has_contrast(image)
    image[:, 32:, 2] = 20
    assert has_contrast(image)


def test_the_range_is_that_of_the_region() -> None:
    samples = texture(7400, 7550).astype(np.uint16)
    samples[:2] = 65_535  # rows of telemetry
    stretch = IntensityStretch(region=Region(0, 2, samples.shape[1], samples.shape[0] - 2))
    assert has_contrast(stretch.convert(samples)[2:, :, None])
    assert stretch.range is not None and stretch.range[1] < 8000
