"""How a model is stored: `model.json` (what it is, small values) and arrays as safetensors. Never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from mktgen.errors import CorruptArtefact

META = "model.json"


def write_meta(directory: Path, kind: str, body: dict[str, Any]) -> None:
    """Write `model.json` canonically (sorted keys; floats round-trip exactly), creating the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"kind": kind, **body}, sort_keys=True, ensure_ascii=False, indent=1)
    (directory / META).write_text(text + "\n", encoding="utf-8")


def read_meta(directory: Path, kind: str | None = None) -> dict[str, Any]:
    """Read `model.json`. Raises CorruptArtefact where it is missing, unreadable or of another kind than asked."""
    path = directory / META
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorruptArtefact(f"{directory}: no {META}; this is not a saved model") from None
    except json.JSONDecodeError as error:
        raise CorruptArtefact(f"{path}: not valid JSON ({error}); save the model again") from error
    found = body.get("kind")
    if not isinstance(found, str) or (kind is not None and found != kind):
        raise CorruptArtefact(f"{path}: holds kind {found!r}, expected {kind or 'a kind name'!r}")
    return body


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    save_file({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, str(path))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name. Raises CorruptArtefact where the file is missing."""
    if not path.exists():
        raise CorruptArtefact(f"{path}: missing; save the model again")
    arrays: dict[str, NDArray[Any]] = load_file(str(path))
    return arrays
