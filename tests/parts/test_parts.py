"""Blocks and parts are another way to hold the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen import parts
from mktgen.contracts import ContractError, contract

SCHEMA = {"customer_id": pl.String, "n": pl.Int64}
# How many rows each of some customers has in a table (0: the table doesn't know them).
sizes = st.dictionaries(st.sampled_from([f"c{n:02d}" for n in range(24)]), st.integers(0, 5), max_size=24)


def table(rows: dict[str, int]) -> pl.DataFrame:
    names = [name for name in sorted(rows) for _ in range(rows[name])]
    return pl.DataFrame({"customer_id": names, "n": range(len(names))}, schema=SCHEMA)


def in_files(frame: pl.DataFrame, rows_per_part: int, rows_read: int) -> Iterator[pl.DataFrame]:
    """As the store reads it: parquet files, a slice at a time."""
    for start in range(0, max(frame.height, 1), rows_per_part):
        yield from parts.slices(next(iter(parts.divided(frame[start : start + rows_per_part]).values())), rows_read)


@settings(deadline=None, max_examples=60)
@given(one=sizes, other=sizes, size=st.integers(1, 9), per_part=st.integers(1, 30), read=st.integers(1, 7))
def test_blocks_are_the_tables_cut_between_customers(
    one: dict[str, int], other: dict[str, int], size: int, per_part: int, read: int
) -> None:
    whole = {"one": table(one), "other": table(other)}
    given = {name: in_files(frame, per_part, read) for name, frame in whole.items()}
    found = list(parts.blocks(given, "customer_id", size))
    for name, frame in whole.items():
        assert pl.concat([frame.clear(), *(block[name] for block in found)]).equals(frame)
    customers = [sorted({*block["one"]["customer_id"], *block["other"]["customer_id"]}) for block in found]
    assert [len(names) for names in customers[:-1]] == [size] * (len(found) - 1)
    assert all(1 <= len(names) <= size for names in customers[-1:])
    everyone = sorted({name for rows in (one, other) for name, count in rows.items() if count})
    assert [name for names in customers for name in names] == everyone


def test_a_table_out_of_order_is_refused() -> None:
    frames = [table({"a": 2}), table({"b": 1}), table({"a": 1})]
    with pytest.raises(ContractError, match="sequences is not in order of customer_id"):
        list(parts.blocks({"sequences": iter(frames)}, "customer_id", 1))
    with pytest.raises(ContractError, match="not in order"):
        list(parts.blocks({"sequences": iter([frames[1].vstack(frames[0])])}, "customer_id", 1))


def test_no_more_is_read_than_a_block_needs() -> None:
    taken = []

    def frames(name: str) -> Iterator[pl.DataFrame]:
        for n in range(100):
            taken.append(name)
            yield table({f"{n:03d}": 3})

    next(parts.blocks({"one": frames("one"), "other": frames("other")}, "customer_id", 10))
    assert (taken.count("one"), taken.count("other")) == (11, 11)  # one more each: it shows that the tenth is complete


OFFERS = contract("offer_items")


def offers(rows: dict[str, int]) -> pl.DataFrame:
    pairs = [(name, f"i{n}") for name in sorted(rows) for n in range(rows[name])]
    return pl.DataFrame(pairs, schema=OFFERS.columns, orient="row")


@settings(deadline=None, max_examples=60)
@given(rows=sizes, cuts=st.sets(st.integers(0, 24)), per_part=st.integers(1, 40))
def test_parts_given_frame_by_frame_have_the_bytes_of_the_whole(
    rows: dict[str, int], cuts: set[int], per_part: int
) -> None:
    whole, names = offers(rows), sorted(rows)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(parts, "ROWS_PER_PART", per_part)
        growing = parts.Parts("offer_items", Path(folder), per_part)
        bounds = [0, *sorted(cuts), len(names)]
        for low, high in pairwise(bounds):
            growing.add(offers({name: rows[name] for name in names[low:high]}))
        assert growing.rows == whole.height
        assert dict(growing.files()) == parts.divided(whole)


@pytest.mark.parametrize("second", [{"a": 1}, {"b": 1}], ids=["before", "again"])
def test_frames_must_follow_one_another(tmp_path: Path, second: dict[str, int]) -> None:
    growing = parts.Parts("offer_items", tmp_path)
    growing.add(offers({"b": 2}))
    with pytest.raises(ContractError, match=r"offer_items: rows of offer_id '\w' came after those of 'b'"):
        growing.add(offers(second))


def test_each_frame_is_checked(tmp_path: Path) -> None:
    growing = parts.Parts("offer_items", tmp_path)
    with pytest.raises(ContractError, match=r"key .* is not unique"):
        growing.add(pl.concat([offers({"a": 1}), offers({"a": 1})]))
    with pytest.raises(ContractError, match=r"offer_items\.item_id: is Int32, must be String"):
        growing.add(offers({"a": 1}).with_columns(pl.lit(1).alias("item_id")))
