"""A feature that alone tells the label too well is not a feature: it is the label, known too early."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mktgen.documents import Gate
from mktgen.evaluation.classification import Bools, Floats, auc

NAME: Final = "label_leakage"
MIN_CUSTOMERS: Final = 30  # of the rarer label: with fewer, chance alone separates them now and then
_Z: Final = 1.96


@dataclass(frozen=True)
class Alone:
    """How well a column alone tells a label: AUC, whichever way round it is, and the lower limit of its 95% interval."""

    column: str
    label: str
    auc: float
    low: float

    def __str__(self) -> str:
        return f"{self.column} alone tells {self.label} with AUC {self.auc:.3f} (lower limit {self.low:.3f})"


def label_leakage(examples: pl.DataFrame, labels: Sequence[str], bound: float) -> Gate:
    """Fails where a column of the examples alone separates a label with an AUC surely above `bound`.

    `examples`: customer_id, `labels` (Boolean), features; columns named otherwise are all tried: numbers and flags as they
    are, text by how often the label holds for it among other customers, gaps as a column of their own. Dates are not
    tried: a cut tells when, not who. "Surely": the lower 95% limit of the AUC (Hanley and McNeil, Radiology 1982) with as
    many cases as there are customers, since a customer's weeks are alike.

    What honest features reach depends on the shop: recency and frequency alone tell a purchase within 7 days at .71 to .80
    and churn at .77 to .84 where all features together reach .82 and .86. The bound belongs above the latter. Misses a
    leak weaker than the bound, and one that only several columns together give away.
    """
    found, judged = [], []
    for label in labels:
        wanted = examples[label].to_numpy().astype(np.bool_)
        cases = [examples.filter(value)["customer_id"].n_unique() for value in (wanted, ~wanted)]
        if min(cases) >= MIN_CUSTOMERS:
            judged.append(label)
            found += [_alone(name, label, wanted, values, cases) for name, values in _columns(examples, label, labels)]
    if not found:
        detail = f"no label has {MIN_CUSTOMERS} customers on either side: chance can't be told from leakage"
        return Gate(name=NAME, passed=None, detail=detail, threshold=bound)
    found.sort(key=lambda one: (-one.low, one.column, one.label))
    leaks = [one for one in found if one.low > bound]
    columns = len({one.column for one in found})
    if leaks:
        told = "; ".join(map(str, leaks[:5]))
        detail = f"{told}: above {bound:.2f} of {columns} columns; is it known at the cut? If so, raise models.max_feature_auc"
    else:
        detail = f"{found[0]}, the most of {columns} columns for {' and '.join(judged)}"
    return Gate(name=NAME, passed=not leaks, detail=detail, value=found[0].low, threshold=bound)


def _alone(column: str, label: str, wanted: Bools, values: Floats, cases: list[int]) -> Alone:
    area = auc(wanted, values)
    area = max(area, 1.0 - area)
    return Alone(column, label, area, area - _Z * standard_error(area, *cases))


def standard_error(area: float, positives: int, negatives: int) -> float:
    """Of an AUC A: sqrt((A (1 - A) + (p - 1) (Q1 - A^2) + (n - 1) (Q2 - A^2)) / p n), p and n the cases of each label,
    Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A). Zero where A is 1.
    """
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))


def _columns(examples: pl.DataFrame, label: str, labels: Sequence[str]) -> Iterator[tuple[str, Floats]]:
    """Each column as numbers, and where it has gaps, the gaps too."""
    for name, dtype in examples.schema.items():
        if name == "customer_id" or name in labels or dtype.is_temporal() or dtype.is_nested():
            continue
        values = examples[name]
        if dtype == pl.String:
            values = _rate_elsewhere(examples, name, label)
        numbers = values.cast(pl.Float64).fill_nan(None)
        gaps = numbers.is_null()
        if gaps.any():
            yield f"{name} is missing", gaps.cast(pl.Float64).to_numpy()
        yield name, numbers.fill_null(numbers.min() or 0.0).to_numpy()


def _rate_elsewhere(examples: pl.DataFrame, name: str, label: str) -> pl.Series:
    """How often the label holds for this text among the other half of the customers; its mean where they have no such text.

    Among the same customers, a text that names each of them would tell every label.
    """
    half = pl.col("customer_id").rank("dense") % 2
    marked = examples.select(name, label, half.alias("half"))
    rates = marked.group_by(name, "half").agg(pl.col(label).mean().alias("rate"))
    other = rates.with_columns(1 - pl.col("half"))
    joined = marked.join(other, on=[name, "half"], how="left", maintain_order="left", nulls_equal=True)
    return joined["rate"].fill_null(float(examples[label].cast(pl.Float64).mean()))  # type: ignore[arg-type]
