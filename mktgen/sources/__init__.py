"""Upstreams: one file = one source; the file's name is its registry name."""

from __future__ import annotations

import importlib
import pkgutil

from mktgen.settings import SourceSettings
from mktgen.sources.base import ObjectReader, Source


def names() -> list[str]:
    """Names of all sources found in this package."""
    found = [info.name for info in pkgutil.iter_modules(__path__)]
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def open_source(settings: SourceSettings, pseudonym_key: str, objects: ObjectReader | None = None) -> Source:
    """The configured source. Raises KeyError naming the sources that exist.

    objects: the store, to read. Only a source whose module says READS_OBJECTS is given it.
    """
    if settings.name not in names():
        raise KeyError(f"no source {settings.name!r}; found: {names()}")
    module = importlib.import_module(f"{__name__}.{settings.name}")
    more = (objects,) if getattr(module, "READS_OBJECTS", False) else ()
    source: Source = module.open_source(settings, pseudonym_key, *more)
    return source
