"""What holds for every channel file, the day it appears."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from mktgen.execution.channels import channel_class, channels
from mktgen.execution.channels.base import Channel, Connections
from mktgen.settings import ExecutionSettings, StrategySettings
from mktgen.store import ObjectStore


def test_every_file_is_a_channel() -> None:
    import mktgen.execution.channels as package

    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")} - {"__init__", "base"}
    assert set(channels()) == files
    assert {"outbox", "smtp"} <= files


@pytest.mark.parametrize("name", channels())
def test_a_channel_declares_itself_and_is_built_from_connections(name: str, objects: ObjectStore) -> None:
    kind = channel_class(name)
    assert issubclass(kind, Channel)
    assert not inspect.isabstract(kind)
    assert kind.name == name
    assert isinstance(kind.idempotent, bool)
    assert kind.purposes, "without a purpose nobody's consent can be looked up"
    built = kind.create(Connections(objects, ExecutionSettings(live_from=None), lambda customer: None))
    assert isinstance(built, kind)
    built.close()
    built.close()


def test_an_unknown_channel_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match="outbox"):
        channel_class("pigeon")


def test_the_default_channel_exists() -> None:
    assert StrategySettings().channel in channels()
