"""The behaviour experiment: one file = one kind of model; the file's name is its registry name."""

from __future__ import annotations

import importlib
import pkgutil

from mktgen.models.base import Model

_NOT_KINDS = frozenset({"base", "reasons", "serving"})


def kinds() -> list[str]:
    """Names of all kinds found in this package (files that define a Model whose `kind` is the file's name)."""
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    return sorted(name for name in names if name not in _NOT_KINDS and not name.startswith("_"))


def model_class(kind: str) -> type[Model]:
    """The class of a kind. Raises KeyError naming the kinds that exist."""
    if kind not in kinds():
        raise KeyError(f"no model kind {kind!r}; found: {kinds()}")
    module = importlib.import_module(f"{__name__}.{kind}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Model) and getattr(value, "kind", None) == kind:
            return value
    raise KeyError(f"mktgen/models/{kind}.py defines no Model with kind = {kind!r}; helper modules start with '_'")
