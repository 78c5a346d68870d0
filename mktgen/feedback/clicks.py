"""What was clicked of what was sent: impressions for a rate, and wordings with the chances that they were drawn by."""

from __future__ import annotations

from datetime import date

import polars as pl

from mktgen.contracts import WORDING_TRIALS

_DELIVERED = ("sent", "already_sent", "unconfirmed")
_OWN_WORDS = pl.col("origin") != "fallback"


def impressions(sends: pl.DataFrame, clicks: pl.DataFrame, click_days: int, until: date) -> pl.DataFrame:
    """decision_id, customer_id, clicked of messages whose days to be clicked are over by the end of `until`, sorted by send_id.

    sends: contracts.SENDS. clicks: contracts.CLICKS of all those days; a message is clicked once or not. Of a message that may
    not have arrived (`unconfirmed`) it counts that it was sent.
    """
    over = pl.col("sent_for") + pl.duration(days=click_days) <= until
    made = sends.filter(pl.col("status").is_in(_DELIVERED) & over)
    pairs = made.join(clicks, left_on="send_id", right_on="exposure_id", how="left")
    last = pl.col("sent_for") + pl.duration(days=click_days)
    inside = pl.col("clicked_on").is_between(pl.col("sent_for") + pl.duration(days=1), last).fill_null(False)
    return (
        pairs.group_by("send_id", "decision_id", "customer_id")
        .agg(clicked=inside.any())
        .sort("send_id")
        .select("decision_id", "customer_id", "clicked")
    )


def wording_trials(
    read: pl.DataFrame, messages: pl.DataFrame, pool: pl.DataFrame, decisions: pl.DataFrame, decided_on: date
) -> pl.DataFrame:
    """contracts.WORDING_TRIALS of one day's decisions.

    read: `impressions` of that day. messages: contracts.MESSAGES and pool: contracts.WORDING_POOL that they were drawn from;
    decisions: contracts.DECISIONS. A message in other words than were drawn teaches nothing and is left out: it is refused for
    what its facts are, which no wording chose. Wordings that nobody was sent stay, with their chance: what was drawn is
    compared with all that could have been.
    """
    sent = (
        read.join(messages.filter(_OWN_WORDS).select("decision_id", "cell", "wording_id"), on="decision_id")
        .join(decisions.select("decision_id", "segment_id"), on="decision_id")
        .group_by("cell", "segment_id", "wording_id")
        .agg(sends=pl.len().cast(pl.Int64), clicks=pl.col("clicked").sum().cast(pl.Int64))
    )
    places = sent.select("cell", "segment_id").unique()
    counted = places.join(pool, on="cell").join(sent, on=["cell", "segment_id", "wording_id"], how="left")
    dated = counted.with_columns(pl.col("sends", "clicks").fill_null(0), decided_on=pl.lit(decided_on))
    return WORDING_TRIALS.check(dated.select(list(WORDING_TRIALS.columns)).sort(WORDING_TRIALS.key))
