"""What may be set for a kind, and from where to where.

The table below is the one home of the ranges. Types, and what is allowed at all, are those of mktgen/settings/: every
end of a range has to be a valid setting. Weights between a model's tasks are not searched: an objective that looks at
one task would only turn the others off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mktgen.errors import PermanentError
from mktgen.settings import ModelSettings

Value = int | float
Space = dict[str, BaseDistribution]

_NEURAL: Final[Space] = {
    "width": CategoricalDistribution((32, 64, 96, 128)),  # heads are 32 wide
    "epochs": IntDistribution(1, 3),
    "memory_events": IntDistribution(128, 2048, log=True),
    "learning_rate": FloatDistribution(5e-4, 1e-2, log=True),
    "weight_decay": FloatDistribution(1e-3, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.4),
    "batch_customers": IntDistribution(8, 64, log=True),
    "events": IntDistribution(64, 384, log=True),
    "min_item_lines": IntDistribution(3, 30, log=True),
}
_RANGES: Final[dict[str, Space]] = {
    "transformer": {f"transformer.{name}": range_ for name, range_ in _NEURAL.items()},
    "lstm": {f"lstm.{name}": range_ for name, range_ in _NEURAL.items()},
    "gradient_boosting": {
        "gradient_boosting.ranking.iterations": IntDistribution(30, 300, log=True),
        "gradient_boosting.ranking.learning_rate": FloatDistribution(0.02, 0.3, log=True),
        "gradient_boosting.ranking.leaves": IntDistribution(7, 127, log=True),
    },
    "logistic_regression": {"train_cuts": IntDistribution(2, 32)},
}


def space(kind: str, settings: ModelSettings) -> Space:
    """Setting (a path below `models`) -> its range, widened to today's value where that lies outside.

    Raises PermanentError where nothing can be set for the kind.
    """
    if kind not in _RANGES:
        raise PermanentError(f"{kind} has no settings to search; kinds that have: {', '.join(sorted(_RANGES))}")
    return {name: _with(range_, current(settings, name)) for name, range_ in _RANGES[kind].items()}


def _with(range_: BaseDistribution, value: Value) -> BaseDistribution:
    if isinstance(range_, CategoricalDistribution):
        choices = {choice for choice in range_.choices if isinstance(choice, int | float)}
        return CategoricalDistribution(tuple(sorted({*choices, value})))
    if isinstance(range_, IntDistribution):
        return IntDistribution(min(range_.low, int(value)), max(range_.high, int(value)), log=range_.log)
    if isinstance(range_, FloatDistribution):
        # A logarithmic range can't hold 0: it becomes an even one.
        return FloatDistribution(min(range_.low, value), max(range_.high, value), log=range_.log and value > 0)
    raise TypeError(f"no rule for {type(range_).__name__}")


def current(settings: ModelSettings, name: str) -> Value:
    """The value of a setting by its path."""
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    value: Value = found
    return value


def with_values(settings: ModelSettings, values: Mapping[str, Value]) -> ModelSettings:
    """The settings with these values in place. Raises pydantic.ValidationError where one is not allowed."""
    body = settings.model_dump()
    _put(body, values)
    return ModelSettings.model_validate(body)


def overlay(values: Mapping[str, Value]) -> str:
    """The values as a settings file for MKTGEN_CONFIG."""
    body: dict[str, Any] = {}
    _put(body, values)
    return yaml.safe_dump({"models": body}, sort_keys=True)


def _put(body: dict[str, Any], values: Mapping[str, Value]) -> None:
    for name, value in values.items():
        *sections, last = name.split(".")
        place = body
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
