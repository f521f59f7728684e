"""The canonical JSON of the model, out and in.

Rules:
* ``config_from_json(to_json(config)) == config`` for every configuration, valid or not.
* Every field is written, in the order it is declared, so equal configurations give equal bytes.
* Where a field may hold one of several classes, ``"type"`` names the class.
* Reading validates: unknown keys, missing keys and wrong types raise ``WireError`` with the path of the value.

Facts: this text also crosses from the control process to its workers, which trust its shape but not its size.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any

from vestibule.model.config import Config


class WireError(ValueError):
    """JSON that is no configuration; the text names the place."""


def to_json(config: Config, indent: int | None = None) -> str:
    """Write a configuration; ``indent`` is for people, without it there is not one blank too many."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(to_data(config), indent=indent, separators=separators, ensure_ascii=True)


def to_data(value: object, tagged: bool = False) -> object:
    """Turn a value of the model into what ``json`` writes: dicts, lists, numbers, texts."""
    if isinstance(value, tuple):
        return [to_data(item, tagged) for item in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    data: dict[str, object] = {"type": type(value).__name__} if tagged else {}
    hints = _hints(type(value))
    for field in dataclasses.fields(value):
        data[field.name] = to_data(getattr(value, field.name), _is_choice(hints[field.name]))
    return data


def config_from_json(text: str) -> Config:
    """Read a configuration. Raises ``WireError``."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as bad:
        raise WireError(f"not JSON: {bad}") from None
    return from_data(data)


def from_data(data: object) -> Config:
    """Read a configuration from decoded JSON. Raises ``WireError``."""
    config = _read(Config, data, "config")
    assert isinstance(config, Config)
    return config


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of a class's fields."""
    return typing.get_type_hints(cls)


def _options(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; a type alone is its only alternative."""
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return typing.get_args(hint)
    return (hint,)


def _is_choice(hint: Any) -> bool:
    """Whether a field's value needs its class named: several classes could stand there."""
    if typing.get_origin(hint) is tuple:
        return any(_is_choice(each) for each in typing.get_args(hint))
    return len([each for each in _options(hint) if dataclasses.is_dataclass(each)]) > 1


def _read(hint: Any, data: object, path: str) -> object:
    """Read one value of the type ``hint``."""
    options = _options(hint)
    if data is None:
        if type(None) in options:
            return None
        raise WireError(f"{path}: null is not allowed here")
    classes = [each for each in options if dataclasses.is_dataclass(each)]
    if classes:
        return _read_object(classes, data, path)
    for option in options:
        if typing.get_origin(option) is tuple:
            return _read_tuple(option, data, path)
        if typing.get_origin(option) is typing.Literal:
            if any(data == each and type(data) is type(each) for each in typing.get_args(option)):
                return data
        elif type(data) is option:
            return data
    raise WireError(f"{path}: unexpected value {json.dumps(data)[:60]}")


def _read_tuple(hint: Any, data: object, path: str) -> object:
    """Read an array: ``tuple[X, ...]`` of any length, ``tuple[X, Y]`` of exactly that."""
    if not isinstance(data, list):
        raise WireError(f"{path}: an array is expected")
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple([_read(args[0], item, f"{path}[{at}]") for at, item in enumerate(data)])
    if len(data) != len(args):
        raise WireError(f"{path}: an array of {len(args)} is expected")
    return tuple([_read(arg, item, f"{path}[{at}]") for at, (arg, item) in enumerate(zip(args, data, strict=True))])


def _read_object(classes: list[Any], data: object, path: str) -> object:
    """Read an object as the class it names, or as the only one possible."""
    if not isinstance(data, dict):
        raise WireError(f"{path}: an object is expected")
    cls = classes[0]
    fields = dict(data)
    if len(classes) > 1:
        wanted = fields.pop("type", None)
        named = [each for each in classes if each.__name__ == wanted]
        if not named:
            known = ", ".join(each.__name__ for each in classes)
            raise WireError(f"{path}.type: expected one of {known}")
        cls = named[0]
    hints = _hints(cls)
    values: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.name in fields:
            values[field.name] = _read(hints[field.name], fields.pop(field.name), f"{path}.{field.name}")
        elif field.default is dataclasses.MISSING:
            raise WireError(f"{path}: `{field.name}` is missing")
    if fields:
        raise WireError(f"{path}: unknown key `{next(iter(fields))}`")
    return cls(**values)
