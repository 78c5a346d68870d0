"""Calibration and effect of the ledger's waves: what moved is called, what is steady or small is not."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from mktgen.contracts import EFFECT_LEDGER
from mktgen.feedback.effect_drift import calibration_drift, effect_drift, reasons
from mktgen.settings import EffectSettings, FeedbackSettings
from tests.feedback.shop import day

SETTINGS = FeedbackSettings()
KNOWN = day(28)  # when the waves' window is over


def waves(realised: list[float], redeemed: list[int], half_width: float = 2_000.0, last: date = KNOWN) -> pl.DataFrame:
    rows = [
        {
            "campaign_id": "", "wave": day(28 * n), "contacts": 100, "controls": 100, "predicted_minor": 5_000.0,
            "realised_minor": value, "realised_low_minor": value - half_width, "realised_high_minor": value + half_width,
            "predicted_redemptions": 50.0, "redeemed": count, "shortfall": False, "reason": "", "known_on": last,
            "incremental": True, "matured": True,
        }
        for n, (value, count) in enumerate(zip(realised, redeemed, strict=True))
    ]  # fmt: skip
    return EFFECT_LEDGER.check(pl.DataFrame(rows, schema=EFFECT_LEDGER.columns))


def test_steady_waves_ask_for_nothing() -> None:
    steady = waves([5_000.0] * 6, [50] * 6)
    assert calibration_drift(steady, SETTINGS) is None
    assert effect_drift(steady, SETTINGS) is None
    assert reasons(steady, SETTINGS, KNOWN) == []


def test_a_calibration_that_moved_and_an_effect_that_fell_are_named_once() -> None:
    moved = waves([9_000.0] * 3 + [1_000.0] * 3, [50] * 3 + [20] * 3)
    said = reasons(moved, SETTINGS, KNOWN)
    assert [reason.text.split(":")[0] for reason in said] == ["calibration drift", "effect drift"]
    assert "is 0.40 in the last 3 waves, 1.00 before" in said[0].text
    assert "+10.0 minor units of profit per contact lately, +90.0 before" in said[1].text
    assert [(reason.model, reason.since) for reason in said] == [("behaviour", None), ("response", day(28 * 3))]
    assert reasons(moved, SETTINGS, day(29)) == []  # no new wave, no new reason


def test_a_short_ledger_or_few_redemptions_say_nothing() -> None:
    assert effect_drift(waves([5_000.0] * 3, [50] * 3), SETTINGS) is None
    assert calibration_drift(waves([5_000.0] * 6, [5] * 3 + [0] * 3), SETTINGS) is None
    assert reasons(EFFECT_LEDGER.empty(), SETTINGS, KNOWN) == []


@pytest.mark.parametrize("test", [calibration_drift, effect_drift])
def test_drift_is_called_by_chance_as_often_as_its_level_says(test: object) -> None:
    rng, called = np.random.default_rng(7), 0
    settings = SETTINGS.model_copy(update={"effect": EffectSettings(drift_alpha=0.05)})
    for _ in range(150):
        made = waves(rng.normal(5_000, 2_000 / 1.96, 6).tolist(), rng.poisson(50, 6).tolist())
        called += test(made, settings) is not None  # type: ignore[operator]
    assert 0.01 <= called / 150 <= 0.11
