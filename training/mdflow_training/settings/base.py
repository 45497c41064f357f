# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Base class of all settings: unknown names are errors, and settings can be printed with their descriptions."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

LINE_WIDTH = 110

Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

OptimizerName = Literal["adamw", "muon"]
"""AdamW for all weights, or Muon for convolution kernels and AdamW for the rest."""


class Settings(BaseModel):
    """A section of a configuration: immutable, unknown names are errors, and numbers must be finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def commented_yaml(settings: Settings) -> str:
    """Return the settings as YAML that `yaml.safe_load` reads, each with its docstring as a comment above."""
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Settings) -> list[str]:
    values: dict[str, Any] = settings.model_dump(mode="json")
    lines = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        is_section = isinstance(value, Settings)
        meaning = field.description or (type(value).__doc__ if is_section else None)
        if meaning:
            text = " ".join(meaning.replace("`", "").split())
            lines += [f"# {line}" for line in textwrap.wrap(text, LINE_WIDTH)]
        if is_section:
            lines += [f"{name}:", *(f"  {line}" for line in _lines(value))]
        else:
            text = yaml.safe_dump(values[name], default_flow_style=True, width=float("inf"))
            lines.append(f"{name}: {text.splitlines()[0]}")
    return lines
