"""Past decisions as trials: what was drawn, with which chance, and what came of it once its window is over."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen.contracts import TRIALS
from mktgen.settings import StrategySettings


def matured_trials(
    decisions: pl.DataFrame,
    sends: pl.DataFrame,
    outcomes: pl.DataFrame,
    offers: pl.DataFrame,
    decided_on: date,
    window_end: date,
    partition: date,
    settings: StrategySettings,
) -> pl.DataFrame:
    """contracts.TRIALS of the decisions of one day, as known at the end of `partition`; sorted by decision_id.

    decisions: contracts.DECISIONS of `decided_on`. sends: contracts.SENDS of that day; where nothing was dispatched nothing was
    tried, and there are no trials. outcomes: contracts.OUTCOMES: purchases of the days after `decided_on` up to `window_end`
    count, and redemptions that were reported up to `partition`. offers: contracts.OFFERS.

    What was drawn counts, not what reached the customer (intention to treat): who is unreachable is so in every arm.
    reward_minor is the margin on all that was bought, less the face value of the drawn offer where it was redeemed, less
    the cost of a contact that was sent. Business as usual is left out: its rule leaves nothing to chance.
    """
    if sends.is_empty():
        return TRIALS.empty()
    ours = decisions.filter(pl.col("arm") != "business_as_usual").select(
        "decision_id", "customer_id", "action", "action_set", "action_propensities", "propensity", "holdout", "offer_id"
    )
    known = pl.col("business_date").is_between(decided_on + timedelta(days=1), partition)
    happened = ours.select("decision_id", "customer_id", "offer_id").join(outcomes.filter(known), on="customer_id")
    inside = pl.col("business_date") <= window_end
    redeemed = pl.col("redeemed_offers").list.contains(pl.col("offer_id")).fill_null(False)
    totals = happened.group_by("decision_id").agg(
        pl.col("net_minor", "orders").filter(inside).sum(), redeemed=redeemed.any()
    )
    face = offers.select("offer_id", face=pl.col("face_value_minor").fill_null(settings.face_value_minor))
    sent = sends.filter(pl.col("status").is_in(["sent", "already_sent", "unconfirmed"])).select(
        "decision_id", contact=pl.lit(settings.contact_cost_minor)
    )
    joined = (
        ours.join(totals, on="decision_id", how="left")
        .join(face, on="offer_id", how="left")
        .join(sent, on="decision_id", how="left")
        .with_columns(
            pl.col("net_minor", "orders", "face", "contact").fill_null(0), pl.col("redeemed").fill_null(False)
        )
    )
    rewarded = joined.with_columns(
        decided_on=pl.lit(decided_on),
        reward_minor=settings.margin_share * pl.col("net_minor")
        - pl.col("face") * pl.col("redeemed")
        - pl.col("contact").cast(pl.Float64),
        converted=pl.col("orders") > 0,
    )
    return TRIALS.check(rewarded.select(list(TRIALS.columns)).sort("decision_id"))
