"""What holds for every source file, the day it appears."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import polars as pl
import pytest

import mktgen.sources as package
from mktgen.contracts import all_contracts
from mktgen.settings import SourceSettings
from mktgen.sources import names, open_source
from mktgen.sources.base import Capabilities, Source

KEY = "a key of this test session, 32 ch."


@cache
def source(name: str) -> Source:
    return open_source(SourceSettings(name=name), KEY)


@cache
def first_day(name: str) -> dict[str, pl.DataFrame]:
    return source(name).read(source(name).first_day)


def test_every_file_is_a_source() -> None:
    files = {path.stem for path in Path(next(iter(package.__path__))).glob("[!_]*.py")} - {"base"}
    assert set(names()) == files
    assert {"complete_journey", "simulated_market"} <= files


def test_an_unknown_source_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match="complete_journey"):
        open_source(SourceSettings(name="pigeon"), KEY)


@pytest.mark.parametrize("name", names())
def test_a_source_declares_itself(name: str) -> None:
    found = source(name)
    assert found.name == name
    assert isinstance(found.capabilities, Capabilities)
    assert all(isinstance(flag, bool) for flag in found.capabilities.as_dict().values())
    assert found.first_day <= found.last_day
    assert found.notice
    assert found.version
    assert isinstance(found.live, bool)
    assert isinstance(found.renews_offers, bool)


@pytest.mark.parametrize("name", names())
def test_rows_are_as_received(name: str) -> None:
    found, tables = source(name), first_day(name)
    assert set(tables) <= set(found.tables)
    for table, frame in (tables | found.read_reference()).items():
        kinds = dict(frame.schema)
        assert kinds.pop("row") == pl.UInt32, table
        assert set(kinds.values()) == {pl.String()}, table
        assert frame["row"].equals(pl.Series("row", range(frame.height), pl.UInt32)), table


@pytest.mark.parametrize("name", names())
def test_what_arrives_has_a_mapping_to_a_canonical_table(name: str) -> None:
    found = source(name)
    daily, reference = found.mappings(found.first_day, {"items": pl.DataFrame()}), found.mappings(found.first_day, {})
    assert set(found.tables) <= set(daily)
    assert set(found.reference_tables) <= set(reference)
    for table, mapping in (daily | reference).items():
        assert mapping.table == table
        assert set(mapping.columns) == set(all_contracts()[mapping.canonical].columns)


@pytest.mark.parametrize("name", names())
def test_a_day_is_the_same_twice_and_in_a_range(name: str) -> None:
    found = source(name)
    ranged = dict(found.read_range(found.first_day, found.first_day))[found.first_day]
    assert ranged.keys() == first_day(name).keys()
    assert all(frame.equals(first_day(name)[table]) for table, frame in ranged.items())
    assert found.fingerprint(found.first_day) == open_source(SourceSettings(name=name), KEY).fingerprint(
        found.first_day
    )


@pytest.mark.parametrize("name", names())
def test_another_key_is_another_identity(name: str) -> None:
    found = source(name)
    assert open_source(SourceSettings(name=name), "another key").fingerprint(found.first_day) != found.fingerprint(
        found.first_day
    )
