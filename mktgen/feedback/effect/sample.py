"""Who was in which arm, what followed, and what was known before: rows for every estimator of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import polars as pl

from mktgen.errors import PermanentError
from mktgen.feedback.effect.estimate import Bools, Ints, Matrix, Vector, sums

CONTROL: Final = "control"
TREATED: Final = "treated"  # the arm, where there is one only
KEYS: Final = ("customer_id", "wave", "arm")


@dataclass(frozen=True)
class Sample:
    """Rows in one total order (customer, wave); `cluster` [rows] numbers the customers from 0.

    covariates: [rows, names], finite; columns that never vary are left out.
    """

    customers: tuple[str, ...]  # by cluster number
    cluster: Ints
    arm: tuple[str, ...]
    outcome: Vector
    covariates: Matrix
    names: tuple[str, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame, outcome: str, covariates: Sequence[str] = ()) -> Self:
        """rows: customer_id (String), wave (Date), arm (String, CONTROL = left alone), `outcome` and covariates (numbers).

        One row per customer and wave; their order doesn't matter. Raises PermanentError for missing columns, two rows of
        a customer in a wave, no rows, or a value that is null, NaN or infinite.
        """
        _check(rows, outcome, covariates)
        ordered = rows.sort("customer_id", "wave")
        customers = ordered["customer_id"].unique(maintain_order=True).to_list()
        number = {who: place for place, who in enumerate(customers)}
        cluster = np.array([number[who] for who in ordered["customer_id"].to_list()], dtype=np.int64)
        values = ordered.select(pl.col(list(covariates)).cast(pl.Float64)).to_numpy() if covariates else None
        table: Matrix = np.zeros((ordered.height, 0)) if values is None else values.astype(np.float64)
        varying = np.flatnonzero(np.ptp(table, axis=0) > 0) if table.shape[1] else np.zeros(0, dtype=np.int64)
        return cls(
            customers=tuple(customers),
            cluster=cluster,
            arm=tuple(ordered["arm"].to_list()),
            outcome=ordered[outcome].cast(pl.Float64).to_numpy().astype(np.float64),
            covariates=np.ascontiguousarray(table[:, varying]),
            names=tuple(covariates[place] for place in varying.tolist()),
        )

    @property
    def rows(self) -> int:
        return self.outcome.size

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Treated arms, by name."""
        return tuple(sorted(set(self.arm) - {CONTROL}))

    @cached_property
    def treated(self) -> Bools:
        """[rows] whether a row is of any treated arm."""
        return np.logical_not(self.in_arm(CONTROL))

    def in_arm(self, name: str) -> Bools:
        return np.array([own == name for own in self.arm], dtype=np.bool_)

    def customers_in(self, rows: Bools) -> int:
        return int(np.unique(self.cluster[rows]).size)

    def by_customer(self, values: Vector) -> Vector:
        """[customers] sums of a value per row."""
        return sums(self.cluster, values, len(self.customers))


def arm_rows(rows: pl.DataFrame, arm: str) -> pl.DataFrame:
    """The rows of one treated arm and of the control. Raises PermanentError where the arm has no row."""
    chosen = rows.filter(pl.col("arm").is_in([arm, CONTROL]))
    if arm == CONTROL or chosen.filter(pl.col("arm") == arm).is_empty():
        raise PermanentError(f"no rows of a treated arm {arm!r}; arms given: {sorted(set(rows['arm'].to_list()))}")
    return chosen


def _check(rows: pl.DataFrame, outcome: str, covariates: Sequence[str]) -> None:
    needed = [*KEYS, outcome, *covariates]
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        raise PermanentError(f"rows of an effect lack the columns {missing}; have {rows.columns}")
    if rows.is_empty():
        raise PermanentError("no rows to estimate an effect from: give the matured rows of both arms")
    if rows.select(KEYS).null_count().sum_horizontal().item():
        raise PermanentError(f"a row of an effect has no {' or no '.join(KEYS)}; leave such rows out")
    twice = rows.filter(rows.select("customer_id", "wave").is_duplicated())
    if twice.height:
        example = twice.select("customer_id", "wave").row(0)
        raise PermanentError(f"{twice.height} rows share customer and wave, e.g. {example}; one row each")
    for name in (outcome, *covariates):
        values = rows[name].cast(pl.Float64)
        wrong = int(values.is_null().sum()) + int((~values.is_finite()).sum())
        if wrong:
            raise PermanentError(
                f"{name}: {wrong} of {rows.height} values are null, NaN or infinite; fill or leave out"
            )
