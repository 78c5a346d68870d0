"""Ways to reach a customer: one file = one channel; the file's name is its registry name."""

from __future__ import annotations

import importlib
import pkgutil

from mktgen.execution.channels.base import Channel

_NOT_CHANNELS = frozenset({"base"})


def channels() -> list[str]:
    """Names of all channels found in this package."""
    names = [info.name for info in pkgutil.iter_modules(__path__)]
    return sorted(name for name in names if name not in _NOT_CHANNELS and not name.startswith("_"))


def channel_class(name: str) -> type[Channel]:
    """The class of a channel. Raises KeyError naming the channels that exist."""
    if name not in channels():
        raise KeyError(f"no channel {name!r}; found: {channels()}")
    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Channel) and getattr(value, "name", None) == name:
            return value
    raise KeyError(f"mktgen/execution/channels/{name}.py defines no Channel with name = {name!r}")
