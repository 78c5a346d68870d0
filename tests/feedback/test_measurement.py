"""Known truths: rates, intervals, refusals, retraining."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mktgen.contracts import ATTRIBUTIONS, DRIFT
from mktgen.documents import FeedbackReport
from mktgen.feedback.intervals import clustered_share
from mktgen.feedback.measurement import measure
from mktgen.feedback.retraining import request_retraining
from mktgen.metrics import CAPABILITIES, METRICS
from mktgen.metrics import LIVE as LIVE_FLAG
from mktgen.settings import FeedbackSettings
from tests.feedback.shop import DAY, day

SETTINGS = FeedbackSettings()
LIVE = {"has_live_customers": True}


def rows(n: int, kind: str = "decision", **columns: object) -> pl.DataFrame:
    base: dict[str, object] = {
        "kind": kind, "campaign_id": "18", "decided_on": DAY, "window_end": day(28), "matured": True, "was_sent": False,
        "holdout": False, "predicted": 0.1, "redeemed": False, "charged": False, "orders": 0, "net_minor": 0,
        "recommended_bought": 0, "recommended": 0,
    }  # fmt: skip
    names = {"reference_id": [f"{kind}{i:05d}" for i in range(n)], "customer_id": [f"c{i:05d}" for i in range(n)]}
    made = {name: value if isinstance(value, list) else [value] * n for name, value in {**base, **columns}.items()}
    return pl.DataFrame({**names, **made}, schema_overrides=ATTRIBUTIONS.columns).select(list(ATTRIBUTIONS.columns))


def report(frame: pl.DataFrame, capabilities: dict[str, bool] | None = None) -> FeedbackReport:
    return measure(ATTRIBUTIONS.check(frame), SETTINGS, capabilities or {}, day(30))


def refused(found: FeedbackReport) -> set[str]:
    return {refusal.metric for refusal in found.refused}


def no_drift() -> pl.DataFrame:
    return DRIFT.empty()


def test_rates_count_matured_rows_and_open_ones_apart() -> None:
    frame = pl.concat([
        rows(4, recommended=5, recommended_bought=[2, 0, 1, 0]),
        rows(2, "exposure", redeemed=[True, False], was_sent=True),
    ])  # fmt: skip
    late = rows(3, "exposure", redeemed=[False, False, True], was_sent=True, matured=False).with_columns(
        ("open" + pl.col("reference_id")).alias("reference_id")
    )
    metrics = report(pl.concat([frame, late])).metrics
    assert metrics["would_have_bought_hit_rate"] == 0.5
    assert metrics["would_have_bought_item_share"] == 3 / 20
    assert metrics["exposure_redemption_rate"] == 0.5
    assert metrics["exposure_redemption_rate_open"] == pytest.approx(1 / 3)
    assert (metrics["exposures"], metrics["exposures_matured"]) == (5, 2)
    assert metrics["would_have_bought_hit_rate_low"] < 0.5 < metrics["would_have_bought_hit_rate_high"]


def test_nothing_to_measure_is_absent_and_not_zero() -> None:
    found = report(ATTRIBUTIONS.empty())
    assert "exposure_redemption_rate" not in found.metrics
    assert "would_have_bought_hit_rate" not in found.metrics
    assert refused(found) == {metric.name for metric in METRICS}


def test_a_replayed_history_gives_no_response_to_what_we_sent() -> None:
    frame = rows(500, was_sent=True, holdout=False, redeemed=[i % 7 == 0 for i in range(500)])
    found = report(frame)
    assert not [name for name in found.metrics if name.startswith(("sent_", "cvr", "uplift"))]
    assert {"cvr", "uplift"} <= refused(found)


def test_refusals_fall_away_with_the_capabilities_and_the_rows() -> None:
    """Off-policy value is no figure of this report, but our own decisions log what it needs."""
    everything = dict.fromkeys((*CAPABILITIES, LIVE_FLAG), True)
    assert refused(report(rows(10), everything)) == {"ctr", "cvr", "offer_response", "uplift", "roi"}
    sent = rows(10, was_sent=[i < 5 for i in range(10)], holdout=[i >= 5 for i in range(10)], net_minor=list(range(10)))
    assert refused(report(sent, everything)) == {"ctr", "offer_response", "roi"}


def test_calibration_of_what_was_sent() -> None:
    frame = rows(
        1_000, was_sent=True, predicted=[0.1] * 500 + [0.3] * 500, redeemed=[i % 10 == 0 for i in range(1_000)]
    )
    metrics = report(frame, LIVE).metrics
    assert metrics["sent_predicted_rate"] == pytest.approx(0.2)
    assert metrics["cvr"] == 0.1
    assert metrics["sent_realised_over_predicted"] == pytest.approx(0.5)
    assert metrics["sent_calibration_error"] == pytest.approx(0.1)


def test_holdout_difference_needs_a_send_and_finds_a_planted_effect() -> None:
    rng = np.random.default_rng(1)
    holdout = (rng.random(4_000) < 0.3).tolist()
    spend = [int(v) for v in rng.gamma(2, 1_000, 4_000) + np.where(holdout, 0, 300)]
    sent = [not held for held in holdout]
    frame = rows(4_000, holdout=holdout, net_minor=spend, was_sent=sent)
    metrics = report(frame, LIVE).metrics
    assert metrics["uplift_low"] < 300 < metrics["uplift_high"]
    assert metrics["uplift_low"] > 0
    assert "uplift" not in refused(report(frame, LIVE))
    assert "uplift" in refused(report(frame.with_columns(pl.lit(False).alias("was_sent")), LIVE))
    assert "uplift" in refused(report(frame.with_columns(pl.lit(True).alias("was_sent")), LIVE))  # no real holdout


def test_clustered_share_covers_where_rows_of_a_customer_are_alike() -> None:
    rng, covered, trials = np.random.default_rng(5), 0, 300
    for _ in range(trials):
        taste = rng.beta(2, 6, 200)
        hits = rng.random((200, 10)) < taste[:, None]
        frame = pl.DataFrame({"customer_id": np.repeat(np.arange(200), 10).astype(str), "hit": hits.ravel()})
        found = clustered_share(frame)
        covered += found.low <= 0.25 <= found.high
    assert 0.91 <= covered / trials <= 0.985


@pytest.mark.parametrize("hits", [0, 20])
def test_clustered_share_at_the_edges(hits: int) -> None:
    frame = pl.DataFrame({"customer_id": [f"c{i}" for i in range(20)], "hit": [i < hits for i in range(20)]})
    found = clustered_share(frame)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.1


def test_retraining_is_requested_for_drift_with_its_reason() -> None:
    drift = pl.DataFrame(
        [("a", 0.1, 0.25, False), ("b", 0.4, 0.25, True), ("c", 0.9, 0.25, True)], schema=DRIFT.columns, orient="row"
    )
    request = request_retraining(drift, report(ATTRIBUTIONS.empty()), SETTINGS, day(30))
    assert request.requested
    assert [reason.split()[1] for reason in request.reasons] == ["c", "b"]


@pytest.mark.parametrize(
    ("sent", "redeemed", "requested"),
    [(1_000, 10, True), (1_000, 90, False), (1_000, 48, False), (199, 0, False), (200, 0, True)],
)
def test_a_shortfall_needs_enough_matured_rows_and_more_than_chance(sent: int, redeemed: int, requested: bool) -> None:
    frame = rows(sent, was_sent=True, predicted=0.1, redeemed=[i < redeemed for i in range(sent)])
    request = request_retraining(no_drift(), report(frame, LIVE), SETTINGS, day(30))
    assert request.requested is requested
    assert all(reason.startswith("shortfall: ") for reason in request.reasons)
    again = request_retraining(no_drift(), report(frame, LIVE), SETTINGS, day(31), earlier=[request])
    assert not again.requested, "nothing that was foretold since has matured"
    assert not request_retraining(no_drift(), report(frame), SETTINGS, day(30)).requested  # a replay can't fall short
