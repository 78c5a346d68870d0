"""The strategy of a day as a document: one campaign per running campaign that contacts somebody, with its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.documents import (
    Allocation,
    Campaign,
    ClassSummary,
    Interval,
    NextExperiment,
    OfferLine,
    Strategy,
    WhyExample,
)
from mktgen.settings import StrategySettings
from mktgen.strategy.class_summary import UNKNOWN
from mktgen.strategy.decision_rows import NO_CONTACT

SHOWN_OFFERS: Final = 10
SHOWN_ITEMS: Final = 10
SHOWN_REASONS: Final = 3  # items of a campaign whose reasons are shown
INTERVAL: Final = "sum over contacts of bootstrap bounds of p, widened by 1.96 sd of the count (Poisson-binomial)"


@dataclass(frozen=True)
class SourceNote:
    """What must be said of the data wherever results are shown."""

    name: str
    notice: str


@dataclass(frozen=True)
class StrategyInputs:
    """Tables by contract (see contracts.py) and texts that the document is made from.

    `copy_examples`: campaign_id -> language -> text. `notes`: of the policy and of the redemption model. `reasons`:
    contracts.REASONS about items; None: nothing was explained. `effects`: contracts.RESPONSE_SCORES, where the values of
    offers are learned; None: they are assumed. `classes`: empty where there is no response model.
    """

    partition: date
    source: SourceNote
    decisions: pl.DataFrame
    offer_scores: pl.DataFrame
    segments: pl.DataFrame
    campaigns: pl.DataFrame
    offers: pl.DataFrame
    items: pl.DataFrame
    allocation: Allocation
    copy_examples: dict[str, dict[str, str]]
    versions: dict[str, str]
    notes: list[str] = field(default_factory=list)
    reasons: pl.DataFrame | None = None
    effects: pl.DataFrame | None = None
    classes: list[ClassSummary] = field(default_factory=list)
    next_experiment: NextExperiment | None = None


def build_strategy(inputs: StrategyInputs, settings: StrategySettings) -> Strategy:
    """The draft strategy; its numbers are those of the drawn decisions, not of a hoped-for plan."""
    decisions = inputs.decisions
    contacts = decisions.filter(pl.col("action") != NO_CONTACT)
    counts = decisions.group_by("segment_id").agg(pl.len()).sort("segment_id")
    return Strategy(
        partition=inputs.partition,
        status="draft",
        source=inputs.source.name,
        source_notice=inputs.source.notice,
        assumptions=[*assumptions(settings, inputs.effects is not None), *inputs.notes],
        customers=decisions.height,
        contacted=contacts.height,
        holdout=int(decisions["holdout"].sum()),
        segments=dict(counts.iter_rows()),
        campaigns=[_campaign(str(c), inputs, settings) for c in contacts["campaign_id"].unique().sort().to_list()],
        allocation=inputs.allocation,
        versions=inputs.versions,
        classes=inputs.classes,
        classes_note="" if inputs.classes else UNKNOWN,
        next_experiment=inputs.next_experiment,
    )


def assumptions(settings: StrategySettings, learned: bool) -> list[str]:
    """What is configured rather than known, and what the value is not. learned: it is of a response model."""
    if learned:
        return [
            f"ASSUMED, not in the data: margin {settings.margin_share:.0%} of sales, and that a contact costs "
            f"{settings.contact_cost_minor} minor units; both are in the rewards that effects were learned from",
            "expected value is incremental: profit against no contact, learned from decisions drawn at random; its bounds add "
            "up those of the customers, as if all erred the same way",
        ]
    return [
        f"ASSUMED, not in the data: margin {settings.margin_share:.0%} of sales, {settings.redemption_basket_minor} minor "
        "units of merchandise credited to a redeeming customer",
        f"ASSUMED, not in the data: a contact costs {settings.contact_cost_minor} minor units; a coupon whose face value "
        f"is not recorded costs {settings.face_value_minor}",
        "expected value is margin credited to redemptions less costs; it is NOT incremental: what these customers would "
        "have bought anyway is unknown",
        "p is the chance that a mailed customer redeems any coupon of the campaign, learned from mailing lists that were "
        "not random; for customers unlike those ever mailed it extrapolates",
        "the chance is scaled by the share of past redeemers who were as quick as the days left allow",
    ]


def _campaign(campaign_id: str, inputs: StrategyInputs, settings: StrategySettings) -> Campaign:
    sent = inputs.decisions.filter(pl.col("campaign_id") == campaign_id)
    info = inputs.campaigns.filter(pl.col("campaign_id") == campaign_id).row(0, named=True)
    scored = sent.join(
        inputs.offer_scores.select("customer_id", "offer_id", "p_redeem_low", "p_redeem_high"),
        on=["customer_id", "offer_id"],
    )
    redemptions = _expected_redemptions(scored)
    held = inputs.decisions.filter("holdout")["customer_id"].len()
    segment_ids = sent.group_by("segment_id").len().sort(["len", "segment_id"], descending=[True, False])
    names = {row["segment_id"]: row for row in inputs.segments.iter_rows(named=True)}
    labels = item_labels(inputs.items)
    return Campaign(
        campaign_id=campaign_id,
        name=_name(info, labels, sent),
        objective=_objective(sent, inputs.segments),
        audience=_audience(segment_ids, names),
        segment_ids=segment_ids["segment_id"].to_list(),
        customers=sent.height,
        offers=_offer_lines(sent, labels),
        items=_items(sent, labels),
        channel=settings.channel,
        send_at_local=f"{inputs.partition + timedelta(days=1)} {settings.send_hour_local:02d}:00",
        budget_minor=inputs.allocation.budget_minor,
        worst_case_cost_minor=int(sent["cost_minor"].sum()),
        expected_redemptions=redemptions,
        expected_redemption_rate=_scaled(redemptions, 1 / sent.height),
        expected_value_minor=_learned_value(sent, inputs.effects)
        if inputs.effects is not None
        else _expected_value(sent, inputs.offers, redemptions, settings),
        holdout_customers=held,
        reasons=_reasons(sent, info, inputs, settings),
        copy_example=inputs.copy_examples.get(campaign_id, {}),
        why_examples=_why_examples(sent, inputs.reasons, labels),
    )


def _expected_redemptions(scored: pl.DataFrame) -> Interval:
    """Redeeming customers expected: sum of p; bounds as named in INTERVAL. Assumes that errors of p all lean one way."""
    values = [scored[name].to_list() for name in ("p_redeem", "p_redeem_low", "p_redeem_high")]
    point, low, high = (math.fsum(column) for column in values)
    spread_low, spread_high = (1.96 * math.sqrt(math.fsum(p * (1 - p) for p in column)) for column in values[1:])
    return Interval(
        value=point,
        low=max(0.0, low - spread_low),
        high=min(float(scored.height), high + spread_high),
        method=INTERVAL,
    )


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(
        value=interval.value * factor,
        low=interval.low * factor,
        high=interval.high * factor,
        method=interval.method,
    )


def _expected_value(
    sent: pl.DataFrame, offers: pl.DataFrame, redemptions: Interval, settings: StrategySettings
) -> Interval:
    """The value moves with redemptions only: bounds are those of the redemptions at the mean net margin of one."""
    face = sent.join(offers.select("offer_id", "face_value_minor"), on="offer_id", how="left")["face_value_minor"]
    mean_face = float(face.fill_null(settings.face_value_minor).mean() or 0.0)  # type: ignore[arg-type]
    each = settings.margin_share * settings.redemption_basket_minor - mean_face
    point = math.fsum(sent["expected_value_minor"].to_list())
    ends = sorted(point + each * (bound - redemptions.value) for bound in (redemptions.low, redemptions.high))
    method = f"under the assumptions, not incremental; {INTERVAL}"
    return Interval(value=point, low=min(ends[0], point), high=max(ends[1], point), method=method)


def _learned_value(sent: pl.DataFrame, effects: pl.DataFrame) -> Interval | None:
    """Incremental profit of the contacts. None where an offer was never tried: its effect has no bounds stored."""
    known = sent.join(effects, on=["customer_id", "action"], how="left")
    if known["low"].null_count():
        return None
    value, low, high = (math.fsum(known[name].to_list()) for name in ("expected_value_minor", "low", "high"))
    return Interval(
        value=value, low=min(low, value), high=max(high, value), method="incremental; sum of the customers' bounds"
    )


def item_labels(items: pl.DataFrame) -> dict[str, str]:
    """item_id -> its category in title case; the catalogue's item types are cut off and hard to read."""
    label = pl.col("category").str.replace_all(r"\s+", " ").str.strip_chars().str.to_titlecase()
    return dict(items.select("item_id", label.alias("name")).iter_rows())


def _name(info: dict[str, object], labels: dict[str, str], sent: pl.DataFrame) -> dict[str, str]:
    main = _items(sent, labels)[0]
    kind = info["campaign_type"]
    return {
        "en": f"{kind} campaign {info['campaign_id']}: {main} and more",
        "zh": f"{kind} 活动 {info['campaign_id']}：「{main}」等",
    }


def _objective(sent: pl.DataFrame, segments: pl.DataFrame) -> str:
    """Win back where those contacted are likelier to leave than average; else reward big spenders; else grow baskets."""
    if segments.is_empty():
        return "grow baskets"
    joined = sent.join(segments, on="segment_id", how="left")
    ours = {name: float(joined[name].mean() or 0.0) for name in ("p_churn_28d", "net_minor_84d")}  # type: ignore[arg-type]
    weight = segments["customers"] / segments["customers"].sum()
    everyone = {name: float((segments[name] * weight).sum()) for name in ours}
    if ours["p_churn_28d"] > everyone["p_churn_28d"]:
        return "win back customers who may leave"
    if ours["net_minor_84d"] > everyone["net_minor_84d"]:
        return "reward the best customers"
    return "grow baskets"


def _audience(counts: pl.DataFrame, names: dict[str, dict[str, object]]) -> dict[str, str]:
    rows = list(counts.iter_rows())
    known = [(names[segment], number) for segment, number in rows if segment in names]
    return {
        "en": "; ".join(f"{row['name_en']} ({number})" for row, number in known),
        "zh": "；".join(f"{row['name_zh']}（{number}人）" for row, number in known),
    }


def _offer_lines(sent: pl.DataFrame, labels: dict[str, str]) -> list[OfferLine]:
    counts = sent.group_by("offer_id").agg(
        pl.len(), pl.col("item_ids").list.first().mode().sort().first().alias("item")
    )
    counts = counts.sort(["len", "offer_id"], descending=[True, False]).head(SHOWN_OFFERS)
    return [
        OfferLine(
            offer_id=row["offer_id"], label=f"coupon for {labels.get(row['item'], 'its items')}", customers=row["len"]
        )
        for row in counts.iter_rows(named=True)
    ]


def _items(sent: pl.DataFrame, labels: dict[str, str]) -> list[str]:
    shown = sent.select(pl.col("item_ids").list.first().alias("item_id"))
    counts = shown.group_by("item_id").len().sort(["len", "item_id"], descending=[True, False])
    names = dict.fromkeys(labels.get(item, item) for item in counts["item_id"].to_list())
    return list(names)[:SHOWN_ITEMS]


def _reasons(
    sent: pl.DataFrame, info: dict[str, object], inputs: StrategyInputs, settings: StrategySettings
) -> list[str]:
    explored = int(sent["explored"].sum())
    p = float(sent["p_redeem"].mean() or 0.0)  # type: ignore[arg-type]
    everyone = inputs.offer_scores.filter(pl.col("campaign_id") == info["campaign_id"]).unique("customer_id")
    average = float(everyone["p_redeem"].mean() or 0.0)  # type: ignore[arg-type]
    reasons = [
        f"{info['campaign_type']} campaign {info['campaign_id']} runs until {info['end_date']}",
        f"those contacted redeem with p = {p:.1%} on average; all {everyone.height} scored customers: {average:.1%}",
        f"{sent.height - explored} drawn as the likeliest action, {explored} as a less likely one, to learn",
    ]
    price = inputs.allocation.shadow_price
    if price > 0:
        reasons.append(f"the budget binds: one more minor unit would add {price:.2f} of expected value")
    else:
        reasons.append("the budget does not bind: every other contact is expected to lose money or is held back")
    reasons.append(f"{settings.holdout_share:.0%} of customers are held out, to measure against")
    return reasons


def _why_examples(sent: pl.DataFrame, reasons: pl.DataFrame | None, labels: dict[str, str]) -> list[WhyExample]:
    """The items of which the events say most, one per customer: what the rhythm is, and what each event adds."""
    if reasons is None:
        return []
    ours = reasons.join(sent.select("decision_id"), on="decision_id", how="semi")
    strongest = ours.filter(pl.col("position") == 1).sort(
        ["effect", "customer_id", "item_id"], descending=[True, False, False]
    )
    keys = strongest.unique("customer_id", keep="first", maintain_order=True).head(SHOWN_REASONS)
    examples = []
    for customer, item in keys.select("customer_id", "item_id").iter_rows():
        texts = ours.filter((pl.col("customer_id") == customer) & (pl.col("item_id") == item)).sort("position")["text"]
        examples.append(
            WhyExample(customer_id=customer, item_id=item, item=labels.get(item, item), reasons=texts.to_list())
        )
    return examples
