"""The store, for the few places that show an artefact to a person. Imported late: it brings polars and boto3."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mktgen.config import Environment
    from mktgen.steps.runner import Platform
    from mktgen.store import Store


def open_store() -> Store:
    """The store that the environment names. Raises ConfigError naming the variable that is missing."""
    return open_platform().store


def open_platform() -> Platform:
    """Settings and store that the environment names, opened once per environment. Raises ConfigError as above."""
    from mktgen.config import environment

    return _opened(environment())


@lru_cache(maxsize=4)
def _opened(environment: Environment) -> Platform:
    from mktgen.config import settings
    from mktgen.steps.runner import Platform

    return Platform(settings(environment.overlays), environment)
