"""scikit-learn models as skops archives whose bytes depend on the model alone.

skops names members and objects by memory address and stamps the archive with the time of day; both are replaced here,
by numbers in order of appearance and by a fixed date. Loading is plain skops, which refuses types it doesn't trust.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from mktgen.errors import CorruptArtefact

_EPOCH = (1980, 1, 1, 0, 0, 0)
# The trees of histogram boosting: plain node arrays, which skops doesn't list among the types it trusts by itself.
_TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


def dump(model: object, path: Path) -> None:
    """Write the same bytes for the same model, fitted or loaded.

    What is shared between parts of a fitted model (and so has one number) may be a copy in a loaded one: it is the loaded
    form that is kept.
    """
    loaded = skops.io.loads(skops.io.dumps(model), trusted=_TRUSTED)
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(loaded)))
    schema = json.loads(source.read("schema.json"))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    renamed = _rename(schema, numbers, files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        members = {new: source.read(old) for old, new in files.items()}
        members["schema.json"] = json.dumps(renamed, indent=1).encode()
        for name in sorted(members):
            target.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), members[name])


def _rename(node: Any, numbers: dict[int, int], files: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_rename(value, numbers, files) for value in node]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            result[key] = numbers.setdefault(value, len(numbers) + 1)
        elif key == "file" and isinstance(value, str):
            result[key] = files.setdefault(value, f"{len(files) + 1:06d}{Path(value).suffix}")
        else:
            result[key] = _rename(value, numbers, files)
    return result


def load(path: Path) -> Any:
    """The model, if every type in it is trusted. Raises CorruptArtefact otherwise, naming the types."""
    if not path.exists():
        raise CorruptArtefact(f"{path}: missing; save the model again")
    unknown = set(skops.io.get_untrusted_types(file=path)) - set(_TRUSTED)
    if unknown:
        raise CorruptArtefact(f"{path}: holds types that are not trusted: {sorted(unknown)}; do not load it")
    return skops.io.load(path, trusted=_TRUSTED)
