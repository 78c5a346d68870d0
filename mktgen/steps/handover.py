"""Values that one process hands to another in a folder: dataclasses of frames, dates, numbers and words. No pickles.

Frames are Arrow files, each written once however often a value holds it; the rest is one JSON document. What comes back equals
what was given: numbers keep all their digits.
"""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

import polars as pl
from pydantic import BaseModel

V = TypeVar("V")
_DOCUMENT: Final = "value.json"


def hand_over(folder: Path, value: object) -> None:
    """Write a value into a folder of its own. Raises TypeError for a part that can't be handed over."""
    folder.mkdir(parents=True)
    written: dict[int, str] = {}

    def encoded(part: Any) -> Any:
        if isinstance(part, pl.DataFrame):
            if id(part) not in written:
                written[id(part)] = f"{len(written)}.arrow"
                part.write_ipc(folder / written[id(part)])
            return written[id(part)]
        if isinstance(part, BaseModel):
            return part.model_dump(mode="json")
        if is_dataclass(part):
            return {field.name: encoded(getattr(part, field.name)) for field in fields(part)}
        if isinstance(part, dict):
            return {name: encoded(each) for name, each in part.items()}
        if isinstance(part, list):
            return [encoded(each) for each in part]
        if isinstance(part, date):
            return part.isoformat()
        if part is None or isinstance(part, str | bool | int | float):
            return part
        raise TypeError(f"{type(part).__name__} can't be handed to another process")

    (folder / _DOCUMENT).write_text(json.dumps(encoded(value)))


def taken_over(folder: Path, kind: type[V]) -> V:
    """The value of type `kind` that was written there."""
    frames: dict[str, pl.DataFrame] = {}

    def frame(name: str) -> pl.DataFrame:
        if name not in frames:
            frames[name] = pl.read_ipc(folder / name)
        return frames[name]

    def decoded(kind: Any, body: Any) -> Any:
        origin, inside = get_origin(kind), get_args(kind)
        if origin is types.UnionType:  # X | None
            return None if body is None else decoded(inside[0], body)
        if origin is list:
            return [decoded(inside[0], each) for each in body]
        if origin is dict:
            return {name: decoded(inside[1], each) for name, each in body.items()}
        if kind is pl.DataFrame:
            return frame(body)
        if kind is date:
            return date.fromisoformat(body)
        if issubclass(kind, BaseModel):
            return kind.model_validate(body)
        if is_dataclass(kind):
            hints, rebuilt = get_type_hints(kind), cast(Any, kind)
            return rebuilt(**{name: decoded(hints[name], each) for name, each in body.items()})
        return body

    result: V = decoded(kind, json.loads((folder / _DOCUMENT).read_text()))
    return result
