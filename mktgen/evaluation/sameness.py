"""Gates that ask for the same answer twice: with another future, in another order of rows, by another way through the code.

Frames in, gates out. What was scored, and how the worlds were made, is the caller's business (steps/honesty.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mktgen.contracts import SAMPLE_SCORES
from mktgen.documents import Gate

SCORES: Final = {name: dtype for name, dtype in SAMPLE_SCORES.columns.items() if name != "kind"}
RELATIVE: Final = 1e-5  # of scores that went another way through floating point: other batches, another machine
ABSOLUTE: Final = 1e-6
_GROUP: Final = ["customer_id", "measure"]
_PLACE: Final = [*_GROUP, "rank"]
_ITEM: Final = [*_GROUP, "item_id"]


@dataclass(frozen=True)
class Finding:
    """One comparison. `what`: in words. `different`: how many of `compared` (customers, or rows of a table) differ."""

    what: str
    unit: str
    compared: int
    different: int
    example: str = ""

    def __str__(self) -> str:
        if self.different:
            return f"{self.what}: {self.different} of {self.compared} {self.unit} differ, e.g. {self.example}"
        return f"{self.what}: {self.compared} {self.unit} the same"


def stacked(ranking: pl.DataFrame | None, *answers: pl.DataFrame | None) -> pl.DataFrame:
    """What a model says of some customers in one frame (SCORES), sorted: Model.rank's frame, and those with one row for
    each customer (Model.probabilities, Model.spend), whose other columns are the measures."""
    parts = [pl.DataFrame(schema=SCORES)]
    if ranking is not None:
        measure = pl.when("seen").then(pl.lit("seen")).otherwise(pl.lit("unseen"))
        parts.append(ranking.select("customer_id", measure.alias("measure"), "rank", "item_id", "score"))
    for answer in (given for given in answers if given is not None):
        for name in (column for column in answer.columns if column != "customer_id"):
            constant = (pl.lit(name).alias("measure"), pl.lit(0, pl.Int32).alias("rank"), pl.lit("").alias("item_id"))
            parts.append(answer.select("customer_id", *constant, pl.col(name).alias("score")))
    return pl.concat(parts).sort(_PLACE)


def same_scores(what: str, expected: pl.DataFrame, found: pl.DataFrame) -> Finding:
    """Whether two frames of SCORES are equal, number for number and place for place."""
    both = expected.join(found, on=_PLACE, how="full", coalesce=True, suffix="_found", nulls_equal=True)
    equal = pl.col("item_id").eq_missing(pl.col("item_id_found")) & pl.col("score").eq_missing(pl.col("score_found"))
    wrong = both.filter(~equal).sort(_PLACE)
    return _of_customers(what, expected, found, wrong)


def close_scores(what: str, expected: pl.DataFrame, found: pl.DataFrame) -> Finding:
    """Whether two frames of SCORES agree but for rounding: |difference| <= 1e-6 + 1e-5 |score|, item by item.

    An item that is ranked on one side only must lie within that of the last place: there, rounding decides.
    """
    both = expected.join(found, on=_ITEM, how="full", coalesce=True, suffix="_found")
    for frame, name in ((expected, "last"), (found, "last_found")):
        lowest = frame.group_by(_GROUP).agg(pl.col("score").min().alias(name))
        both = both.join(lowest, on=_GROUP, how="left")
    left, right = pl.coalesce("score", "last"), pl.coalesce("score_found", "last_found")
    agree = (left - right).abs() <= ABSOLUTE + RELATIVE * pl.max_horizontal(left.abs(), right.abs())
    return _of_customers(what, expected, found, both.filter(~agree.fill_null(False)).sort(_ITEM))


def _of_customers(what: str, expected: pl.DataFrame, found: pl.DataFrame, wrong: pl.DataFrame) -> Finding:
    compared = pl.concat([expected["customer_id"], found["customer_id"]]).n_unique()
    example = ""
    if wrong.height:
        row = wrong.row(0, named=True)
        example = f"{row['measure']} of customer {row['customer_id']}: {row['score']} became {row['score_found']}"
    return Finding(what, "customers", compared, wrong["customer_id"].n_unique(), example)


def same_tables(what: str, expected: Mapping[str, pl.DataFrame], found: Mapping[str, pl.DataFrame]) -> Finding:
    """Whether tables of the same names are equal, row by row in their order and value for value."""
    rows = sum(frame.height for frame in expected.values())
    unlike = {name: _unlike(expected[name], found[name]) for name in expected}
    examples = [f"{name}, {example}" for name, (_, example) in unlike.items() if example]
    return Finding(what, "rows", rows, sum(count for count, _ in unlike.values()), next(iter(examples), ""))


def _unlike(expected: pl.DataFrame, found: pl.DataFrame) -> tuple[int, str]:
    """How many rows differ, and the first difference in words."""
    if expected.equals(found):
        return 0, ""
    if expected.schema != found.schema or expected.height != found.height:
        shapes = [f"{frame.height} rows of {len(frame.columns)} columns" for frame in (expected, found)]
        return max(1, abs(expected.height - found.height)), " became ".join(shapes)
    unequal = np.column_stack([expected[name].ne_missing(found[name]).to_numpy() for name in expected.columns])
    row, column = (int(place) for place in np.argwhere(unequal)[0])
    example = f"{expected.columns[column]} of row {row}: {expected[row, column]} became {found[row, column]}"
    return int(unequal.any(axis=1).sum()), example


def gate(name: str, findings: Sequence[Finding]) -> Gate:
    """Passed where no comparison shows a difference; `value` counts the comparisons that do.

    Not applicable where nothing was there to compare.
    """
    wrong = [finding for finding in findings if finding.different]
    if not any(finding.compared for finding in findings):
        return Gate(name=name, passed=None, detail="nothing to compare: no customer, or nothing dated after the cut")
    detail = "; ".join(str(finding) for finding in wrong or findings)
    return Gate(name=name, passed=not wrong, detail=detail, value=float(len(wrong)), threshold=0.0)
