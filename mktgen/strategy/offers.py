"""Candidate actions: for each active customer the best offers of the campaigns that run, with probability, cost, value.

Value is p * (margin_share * redemption_basket - face value) - contact cost: expected margin under configured
assumptions, not incremental (no campaign here was randomised, so what would have been bought anyway is unknown).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import OFFER_SCORES
from mktgen.settings import StrategySettings
from mktgen.strategy.mailings import campaign_items, mailing_frame, own_lines
from mktgen.strategy.redemption import RedemptionModel

CAMPAIGN_SCORES: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    name: OFFER_SCORES.columns[name]
    for name in ("customer_id", "campaign_id", "p_redeem", "p_redeem_low", "p_redeem_high")
}


def running_campaigns(campaigns: pl.DataFrame, partition: date) -> pl.DataFrame:
    """Campaigns that have started by the partition and are still open on the next day, when a message would arrive."""
    open_ = (pl.col("start_date") <= partition) & (pl.col("end_date") > partition)
    return campaigns.filter(open_).sort("campaign_id")


def campaign_scores(
    customers: list[str],
    features: pl.DataFrame,
    lines: pl.DataFrame,
    campaigns: pl.DataFrame,
    offers: pl.DataFrame,
    offer_items: pl.DataFrame,
    exposures: pl.DataFrame,
    responses: pl.DataFrame,
    model: RedemptionModel,
    partition: date,
) -> pl.DataFrame:
    """CAMPAIGN_SCORES: p of every active customer for every running campaign, sorted by customer and campaign.

    p is the model's, for a whole window, times the share of redeemers who are quick enough for the days left.
    """
    cut = partition + timedelta(days=1)
    ours = features.filter(pl.col("customer_id").is_in(customers)).sort("customer_id")
    parts = [pl.DataFrame(schema=CAMPAIGN_SCORES)]
    if model.kind != "none":
        for campaign in running_campaigns(campaigns, partition).iter_rows(named=True):
            eligible = campaign_items(campaign["campaign_id"], offers, offer_items)
            rows = mailing_frame(campaign, cut, ours, exposures, responses, eligible, lines)
            left = model.share_redeemed_within((campaign["end_date"] - cut).days)
            chances = model.predict(rows).select(pl.all() * left)
            parts.append(rows.select("customer_id", "campaign_id").hstack(chances))
    return pl.concat(parts).sort("customer_id", "campaign_id")


def offer_scores(
    customers: list[str],
    features: pl.DataFrame,
    lines: pl.DataFrame,
    campaigns: pl.DataFrame,
    offers: pl.DataFrame,
    offer_items: pl.DataFrame,
    items: pl.DataFrame,
    item_scores: pl.DataFrame,
    exposures: pl.DataFrame,
    responses: pl.DataFrame,
    model: RedemptionModel,
    partition: date,
    settings: StrategySettings,
    once: bool = True,
) -> pl.DataFrame:
    """contracts.OFFER_SCORES: at most settings.offers_per_customer offers per active customer, the best ones.

    customers: the active ones. features: contracts.CUSTOMER_FEATURES whose cut is the day after the partition. lines:
    merchandise lines (customer_id, item_id, business_date) of the last AFFINITY_DAYS at least. The other frames are
    the canonical tables, contracts.ITEM_SCORES and the model. Offers without merchandise in the catalogue can't be
    shown and are left out; so are, where an offer can be redeemed `once` only, those that the customer has redeemed.
    Without a running campaign or a redemption model the frame is empty: then nobody is contacted, which is valid.
    """
    chances = campaign_scores(
        customers, features, lines, campaigns, offers, offer_items, exposures, responses, model, partition
    )
    shown = items.filter(pl.col("merchandise")).select("item_id")
    running = offers.join(chances.select("campaign_id").unique(), on="campaign_id", how="semi").filter(
        (pl.col("valid_from") <= partition) & (pl.col("valid_to") > partition)
    )
    eligible = offer_items.join(running, on="offer_id", how="semi").join(shown, on="item_id", how="semi")
    own = own_lines(lines, partition + timedelta(days=1), chances.select("customer_id").unique())
    counts = own.group_by("customer_id", "item_id").agg(pl.len().cast(pl.Int64).alias("lines"))
    candidates = _candidates(chances, running, eligible, counts)
    if once:
        candidates = candidates.join(_redeemed(responses, partition), on=["customer_id", "offer_id"], how="anti")
    candidates = _keep_best(_priced(candidates, running, settings), settings.offers_per_customer)
    candidates = _with_item(candidates, eligible, counts, item_scores)
    ordered = candidates.select(pl.col(name).cast(dtype) for name, dtype in OFFER_SCORES.columns.items())
    return OFFER_SCORES.check(ordered.sort("customer_id", "offer_id"))


def _candidates(
    chances: pl.DataFrame, running: pl.DataFrame, eligible: pl.DataFrame, counts: pl.DataFrame
) -> pl.DataFrame:
    """Per customer and campaign: the offers it buys from (with affinity), and the campaign's most bought offer."""
    on_offer = counts.join(eligible, on="item_id").group_by("customer_id", "offer_id").agg(pl.col("lines").sum())
    total = counts.group_by("customer_id").agg(pl.col("lines").sum().alias("total"))
    bought = on_offer.join(total, on="customer_id").with_columns((pl.col("lines") / pl.col("total")).alias("affinity"))
    popular = (
        eligible.select("offer_id")
        .unique()
        .join(on_offer.group_by("offer_id").agg(pl.col("lines").sum().alias("popularity")), on="offer_id", how="left")
    )
    popular = popular.join(running.select("offer_id", "campaign_id"), on="offer_id").with_columns(
        pl.col("popularity").fill_null(0)
    )
    first = popular.sort(["campaign_id", "popularity", "offer_id"], descending=[False, True, False])
    first = first.unique("campaign_id", keep="first", maintain_order=True)
    everyone = chances.join(first.select("campaign_id", "offer_id"), on="campaign_id")
    liked = chances.join(popular.select("campaign_id", "offer_id"), on="campaign_id").join(
        bought.select("customer_id", "offer_id"), on=["customer_id", "offer_id"], how="semi"
    )
    both = pl.concat([everyone, liked]).unique(["customer_id", "offer_id"])
    both = both.join(bought.select("customer_id", "offer_id", "affinity"), on=["customer_id", "offer_id"], how="left")
    return both.join(popular.select("offer_id", "popularity"), on="offer_id").with_columns(
        pl.col("affinity").fill_null(0.0)
    )


def _redeemed(responses: pl.DataFrame, partition: date) -> pl.DataFrame:
    past = responses.filter((pl.col("responded_on") <= partition) & (pl.col("response_type") == "redeem"))
    return past.select("customer_id", "offer_id").unique()


def _priced(candidates: pl.DataFrame, running: pl.DataFrame, settings: StrategySettings) -> pl.DataFrame:
    face = pl.col("face_value_minor").fill_null(settings.face_value_minor)
    margin = settings.margin_share * settings.redemption_basket_minor
    return candidates.join(running.select("offer_id", "face_value_minor"), on="offer_id").with_columns(
        (face + settings.contact_cost_minor).cast(pl.Int64).alias("cost_minor"),
        (pl.col("p_redeem") * (margin - face) - settings.contact_cost_minor).alias("value_minor"),
    )


def _keep_best(candidates: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The best of each campaign in turn, so that no running campaign crowds out the others."""
    best = candidates.sort(
        ["customer_id", "campaign_id", "affinity", "popularity", "offer_id"],
        descending=[False, False, True, True, False],
    ).with_columns(pl.int_range(pl.len()).over("customer_id", "campaign_id").alias("place"))
    turn = best.sort(
        ["customer_id", "place", "value_minor", "affinity", "offer_id"],
        descending=[False, False, True, True, False],
    )
    return turn.group_by("customer_id", maintain_order=True).head(limit)


def _with_item(
    candidates: pl.DataFrame, eligible: pl.DataFrame, counts: pl.DataFrame, item_scores: pl.DataFrame
) -> pl.DataFrame:
    """The eligible item to show: the model's best, else the customer's most bought, else everybody's most bought."""
    wanted = candidates.select("customer_id", "offer_id")
    pairs = eligible.join(wanted.select("offer_id").unique(), on="offer_id", how="semi")
    scored = item_scores.select("customer_id", "item_id", pl.col("score").cast(pl.Float64))
    choices = []
    for level, frame in enumerate((scored, counts.rename({"lines": "score"}).cast({"score": pl.Float64}))):
        own = frame.join(pairs, on="item_id").join(wanted, on=["customer_id", "offer_id"], how="semi")
        choices.append(own.select("customer_id", "offer_id", "item_id", "score", pl.lit(level).alias("level")))
    overall = counts.group_by("item_id").agg(pl.col("lines").sum().cast(pl.Float64).alias("score"))
    common = pairs.join(overall, on="item_id", how="left").with_columns(pl.col("score").fill_null(0.0))
    common = common.sort(["offer_id", "score", "item_id"], descending=[False, True, False])
    common = common.unique("offer_id", keep="first", maintain_order=True)
    everyone = wanted.join(common, on="offer_id").with_columns(pl.lit(2).alias("level"))
    choices.append(everyone.select("customer_id", "offer_id", "item_id", "score", "level"))
    best = pl.concat(choices).sort(
        ["customer_id", "offer_id", "level", "score", "item_id"], descending=[False, False, False, True, False]
    )
    best = best.unique(["customer_id", "offer_id"], keep="first", maintain_order=True)
    return candidates.join(best.select("customer_id", "offer_id", "item_id"), on=["customer_id", "offer_id"])
