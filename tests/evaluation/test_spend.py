"""Figures of spend by hand."""

from __future__ import annotations

import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.evaluation.spend import summary


def frame(**spend: float) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": list(spend), "spend_28d_minor": [float(v) for v in spend.values()]})


def test_figures_are_in_major_units() -> None:
    found = summary(frame(a=300, b=0, c=900), frame(a=100, b=0, c=1100))
    assert found["spend_28d.mae"] == pytest.approx(4 / 3)
    assert found["spend_28d.rmse"] == pytest.approx((8 / 3) ** 0.5)
    assert found["spend_28d.bias"] == pytest.approx(0.0)
    variance = ((1 - 4) ** 2 + (0 - 4) ** 2 + (11 - 4) ** 2) / 3
    assert found["spend_28d.r2"] == pytest.approx(1 - (8 / 3) / variance)


def test_estimates_for_others_are_ignored_and_missing_ones_refused() -> None:
    assert summary(frame(a=100, x=5), frame(a=100))["spend_28d.mae"] == 0.0
    with pytest.raises(PermanentError, match="'b'"):
        summary(frame(a=100), frame(a=100, b=0))
    assert summary(frame(a=1), frame(a=1).clear()) == {}
