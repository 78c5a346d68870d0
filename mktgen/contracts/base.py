"""What a contract is, and the registry of all of them.

Conventions: times are UTC (microseconds); `business_date` is the shop's local day; money is in minor units of the
shop's currency (Int64, cents for USD); identifiers are strings; customers are pseudonyms (keyed hash).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from mktgen.errors import PermanentError

UTC_TIME: Final = pl.Datetime("us", "UTC")


class ContractError(PermanentError):
    """A frame or document breaks its contract. Never retried: the same input breaks it again."""


@dataclass(frozen=True)
class Contract:
    """Schema of one table artefact.

    `columns` are in stored order; `key` identifies a row ("" in an error means there is no key); `nullable` lists the
    columns that may hold nulls. `open_strings` allows further String columns (raw tables, whose columns the source owns).
    """

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType]]
    key: tuple[str, ...] = ()
    nullable: frozenset[str] = frozenset()
    open_strings: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, types, nullability and key; stored in every manifest and compared on read."""
        body = {
            "name": self.name,
            "columns": [[name, str(_instance(dtype))] for name, dtype in self.columns.items()],
            "key": list(self.key),
            "nullable": sorted(self.nullable),
            "open_strings": self.open_strings,
        }
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.columns)

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` in stored column order, or raise ContractError naming the column and an example."""
        self._check_columns(frame)
        if not self.open_strings:
            frame = frame.select(list(self.columns))
        required = [name for name in self.columns if name not in self.nullable]
        nulls = frame.select(pl.col(required).null_count()).row(0, named=True) if required else {}
        for name, count in nulls.items():
            if count:
                raise ContractError(f"{self.name}.{name}: {count} of {frame.height} rows are null, none may be")
        if self.key and frame.select(self.key).is_duplicated().any():
            example = frame.filter(frame.select(self.key).is_duplicated()).select(self.key).row(0, named=True)
            raise ContractError(f"{self.name}: key {self.key} is not unique, e.g. {example}")
        return frame

    def _check_columns(self, frame: pl.DataFrame) -> None:
        have = dict(frame.schema)
        missing = [name for name in self.columns if name not in have]
        if missing:
            raise ContractError(f"{self.name}: missing columns {missing}; have {list(have)}")
        for name, dtype in have.items():
            if name not in self.columns:
                if self.open_strings and dtype == pl.String:
                    continue
                raise ContractError(f"{self.name}: unexpected column {name} ({dtype})")
            want = _instance(self.columns[name])
            if dtype != want:
                raise ContractError(f"{self.name}.{name}: is {dtype}, must be {want}")


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


REGISTRY: dict[str, Contract] = {}


def table(
    name: str,
    columns: dict[str, pl.DataType | type[pl.DataType]],
    key: Iterable[str] = (),
    nullable: Iterable[str] = (),
    open_strings: bool = False,
) -> Contract:
    contract = Contract(name, columns, tuple(key), frozenset(nullable), open_strings)
    REGISTRY[name] = contract
    return contract


def contract(name: str) -> Contract:
    """The contract of an artefact; raw tables (`raw_<table>`) share one."""
    if name.startswith("raw_"):
        return Contract(name, RAW.columns, RAW.key, RAW.nullable, RAW.open_strings)
    try:
        return REGISTRY[name]
    except KeyError:
        raise ContractError(f"no contract named {name!r}; known: {sorted(REGISTRY)}") from None


def all_contracts() -> dict[str, Contract]:
    return dict(REGISTRY)


# -- collect: rows as received, every value a string, so that any hostile value can be represented -----------------
RAW = table("raw", {"row": pl.UInt32}, key=["row"], open_strings=True)
