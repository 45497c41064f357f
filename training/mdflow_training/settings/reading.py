# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read settings from YAML and from the command line; errors name the setting, its value and what is allowed."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mdflow_training.settings.base import Settings

Config = TypeVar("Config", bound=Settings)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the setting and the allowed values."""


class _UniqueKeys(yaml.SafeLoader):
    """Rejects duplicate keys, which YAML forbids and PyYAML accepts: it would silently ignore the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' stands twice in a section", node.start_mark)
        return super().construct_mapping(node, deep)


def checked(kind: type[Config], values: dict[str, Any]) -> Config:
    """Return validated settings made from plain values.

    Raises:
        ConfigError: a setting is missing, unknown, or has a wrong value; the message has a line for each.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        causes = [one for one in problems if not any(_is_within(other["loc"], one["loc"]) for other in problems)]
        raise ConfigError("\n".join(_explain(kind, details) for details in causes)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings in a file, without validation.

    Raises:
        ConfigError: the file cannot be read, is not a YAML mapping, or contains a setting twice.
    """
    try:
        values = yaml.load(path.read_text(), _UniqueKeys) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: a wrong encoding or an impossible date
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings such as 'seed: 2', not a {type(values).__name__}")
    return values


def parse_override(override: str) -> dict[str, Any]:
    """Parse ``section.name=value``; return nested mappings like `read_yaml`.

    Raises:
        ConfigError: the text has a different form, or the value is not YAML.
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"'{override}' is not of the form section.name=value, such as stage1.optimization.steps=100")
    try:
        value: Any = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"the value of '{override}' is not YAML: {error}") from error
    for part in reversed(name.strip().split(".")):
        value = {part: value}
    return value


def merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` updated with ``changes``, recursively: settings that ``changes`` omits keep their values."""
    merged = dict(values)
    for name, change in changes.items():
        is_section = isinstance(change, dict) and isinstance(values.get(name), dict)
        merged[name] = merge(values[name], change) if is_section else change
    return merged


MESSAGES = {
    "missing": "it must be set",
    "tuple_type": "a list is needed, such as [1, 2]",
    "model_type": "this is a section: change its settings with SECTION.NAME=VALUE",
}
"""What to say instead of pydantic's message, by the type of the error."""


def _is_within(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    """Return whether ``inner`` is the location of a part of what is at ``outer``."""
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _explain(kind: type[BaseModel], details: Any) -> str:
    location = [str(part) for part in details["loc"]]
    message = MESSAGES.get(details["type"], str(details["msg"])).removeprefix("Value error, ")
    if not location:
        return message
    name = ".".join(location)
    if details["type"] == "missing":
        return f"{name}: {message}"
    if details["type"] != "extra_forbidden":
        return f"{name}: {message} (found {details['input']!r})"
    known = _names_in(kind, [part for part in location[:-1] if not part.isdigit()])
    near = difflib.get_close_matches(location[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"{name}: unknown setting; {hint}"


def _names_in(kind: type[BaseModel], sections: list[str]) -> list[str]:
    for section in sections:
        annotation: Any = kind.model_fields[section].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        kind = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(kind.model_fields)
