# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Valid model cards are read; every invalid card is refused with one clear sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, ModelError, Preprocessing, load_card, save_model

CARD = ModelCard("robot", "0" * 64, Preprocessing.RGB_SCALAR_MEAN, True, "Apache-2.0")


def test_a_card_survives_writing_and_reading() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


@pytest.mark.parametrize("path", ["走行\u3000一", "Bildschirmaufnahme\u202f2026", "my\u00a0drive"])
def test_a_card_may_name_any_path(path: str) -> None:
    card = replace(CARD, training_data=f"adapted to {path}")
    assert ModelCard.from_json(card.to_json()) == card


def test_cards_of_the_older_spelling_are_read() -> None:
    values = json.loads(CARD.to_json())
    values["licence"] = values.pop("license")
    assert ModelCard.from_json(json.dumps(values)) == CARD
    assert load_card(BUNDLED_MODEL).license == "Apache-2.0"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": 7}, "name must be of type str, not 7"),
        ({"name": None}, "name must be of type str, not None"),
        ({"name": ""}, "name must have 1 to 200 characters, not 0"),
        ({"name": "x" * 3_000}, "name must have 1 to 200 characters, not 3000"),
        ({"name": "\ud800"}, r"name holds unprintable characters: '\ud800'"),
        ({"license": "\x1b[2J"}, "license holds unprintable characters"),
        ({"cost_volume_normalization": 1}, "cost_volume_normalization must be of type bool, not 1"),
        ({"metrics": []}, "metrics must be of type dict"),
        ({"preprocessing": "other"}, "preprocessing 'other' is none of rgb_scalar_mean, bgr_channel_mean"),
        ({"preprocessing": ["other"]}, "preprocessing must be of type str"),
        ({"unheard": 1}, "unknown fields ['unheard']"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ModelError) as error:
        ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), **change}))
    assert problem in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("{", "not a model card"),
        ("[]", "a list instead of an object"),
        ("{}", "missing fields ['name', 'sha256'"),
        (" " * 2_000_000, "at most 1000000"),
    ],
)
def test_what_is_no_card_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ModelError, match=r"not a model card") as error:
        ModelCard.from_json(text)
    assert problem in str(error.value)


@pytest.mark.parametrize("content", ['{"sets": {}}', "\xff"])
def test_a_card_replaces_no_other_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ModelError, match=r"report\.json is not a model card and was not overwritten"):
        save_model(b"graph", CARD, tmp_path / "report.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    path.write_text(CARD.to_json())  # as an interrupted call leaves it
    save_model(b"graph", CARD, tmp_path / "report.onnx")
