"""Messages for the customers to be contacted, from the template bank.

Language: the data say nothing about a customer's language, so every message is in settings.languages[0]; the strategy
document shows an example in each language. A product is named by its category in the catalogue's own words: item
types are cut off at 30 characters there ("Can Catfd Gourmet/Sup Prem (Gr").

A message that the checker refuses is replaced by the plain fallback template; where that is refused too, there is no
message, and the gate `message_per_contact` stops the strategy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from mktgen.contracts import MESSAGES
from mktgen.copywriting.checker import Facts, catalogue_names, problems
from mktgen.copywriting.templates import Bank, Template, Tone, Wording, bank
from mktgen.settings import StrategySettings

# Complete Journey's brand column holds a class, not a name; a class is nothing to print.
BRAND_CLASSES: Final = frozenset({"national", "private"})
ALSO: Final = 2  # further items named in a message


@dataclass(frozen=True)
class SourceFacts:
    """What the source knows about money: the symbol put before an amount."""

    currency_symbol: str = "$"


def write_messages(
    decisions: pl.DataFrame,
    recommendations: pl.DataFrame,
    items: pl.DataFrame,
    offers: pl.DataFrame,
    segments: pl.DataFrame,
    campaigns: pl.DataFrame,
    settings: StrategySettings,
    source: SourceFacts | None = None,
) -> pl.DataFrame:
    """contracts.MESSAGES for the contacted decisions, sorted by decision_id.

    Further items come from the decision's item_ids, and where those name only the offer's item, from the
    recommendations. The template is picked by tone (of the segment) and a hash of the decision, so that reruns give
    the same text. template_id ends in `-fallback` where the fallback was used.
    """
    language = settings.languages[0]
    rows = _written(decisions, recommendations, items, offers, segments, campaigns, source or SourceFacts(), language)
    return MESSAGES.check(pl.DataFrame(rows, schema=MESSAGES.columns).sort("decision_id"))


def campaign_examples(
    decisions: pl.DataFrame,
    recommendations: pl.DataFrame,
    items: pl.DataFrame,
    offers: pl.DataFrame,
    segments: pl.DataFrame,
    campaigns: pl.DataFrame,
    settings: StrategySettings,
    source: SourceFacts | None = None,
) -> dict[str, dict[str, str]]:
    """campaign_id -> language -> "subject — body", the message of each campaign's first contact in every language."""
    first = _contacted(decisions).sort("campaign_id", "decision_id").unique("campaign_id", keep="first")
    examples: dict[str, dict[str, str]] = {}
    for language in settings.languages:
        rows = _written(first, recommendations, items, offers, segments, campaigns, source or SourceFacts(), language)
        for row in sorted(rows, key=lambda row: row["campaign_id"]):
            examples.setdefault(row["campaign_id"], {})[language] = f"{row['subject']} — {row['body']}"
    return examples


def _contacted(decisions: pl.DataFrame) -> pl.DataFrame:
    return decisions.filter(pl.col("offer_id").is_not_null())


def _written(
    decisions: pl.DataFrame,
    recommendations: pl.DataFrame,
    items: pl.DataFrame,
    offers: pl.DataFrame,
    segments: pl.DataFrame,
    campaigns: pl.DataFrame,
    source: SourceFacts,
    language: str,
) -> list[dict[str, Any]]:
    sent = _contacted(decisions).sort("decision_id")
    book = bank(language)
    names = _names(items)
    known = {row["item_id"]: row for row in items.filter("merchandise").iter_rows(named=True)}
    catalogue = _catalogue(items)
    tones = segment_tones(segments)
    terms = {row["offer_id"]: row for row in offers.iter_rows(named=True)}
    further = _further(recommendations, sent)
    running = set(campaigns["campaign_id"].to_list())
    rows = []
    for decision in sent.iter_rows(named=True):
        offer, shown = terms.get(decision["offer_id"]), decision["item_ids"][:1]
        if offer is None or not shown or shown[0] not in known or decision["campaign_id"] not in running:
            continue  # nothing true can be said; the gate on messages stops the strategy
        others = decision["item_ids"][1:] or further.get(decision["customer_id"], [])
        facts = _facts(known[shown[0]], [known[i] for i in others if i in known], names, offer, book, source)
        message = _compose(
            book, tones.get(decision["segment_id"], "everyday"), facts, decision["decision_id"], catalogue
        )
        if message is not None:
            kept = {name: decision[name] for name in ("decision_id", "customer_id", "campaign_id", "channel")}
            rows.append({**kept, "language": language, **message})
    return rows


def segment_tones(segments: pl.DataFrame) -> dict[str, Tone]:
    """Tone of each segment from its profile beside the customer-weighted average of all segments."""
    total = max(int(segments["customers"].sum()), 1)

    def average(name: str) -> float:
        return float((segments[name] * segments["customers"]).sum()) / total

    churn, discount = average("p_churn_28d"), average("discount_share_84d")
    spend, orders = average("net_minor_84d"), average("orders_84d")
    tones: dict[str, Tone] = {}
    for row in segments.sort("segment_id").iter_rows(named=True):
        if row["p_churn_28d"] > 1.5 * churn:
            tones[row["segment_id"]] = "win_back"
        elif row["net_minor_84d"] > spend and row["orders_84d"] > orders:
            tones[row["segment_id"]] = "reward"
        elif row["discount_share_84d"] > 1.1 * discount:
            tones[row["segment_id"]] = "deal"
        else:
            tones[row["segment_id"]] = "everyday"
    return tones


def _names(items: pl.DataFrame) -> dict[str, str]:
    label = pl.col("category").str.replace_all(r"\s+", " ").str.strip_chars().str.to_titlecase()
    return dict(items.filter("merchandise").select("item_id", label.alias("name")).iter_rows())


def _catalogue(items: pl.DataFrame) -> frozenset[str]:
    """What the shop sells, by category and by type: the names that a message may not mention by accident."""
    goods = items.filter("merchandise")
    return catalogue_names(sorted({*goods["category"].to_list(), *goods["item_type"].drop_nulls().to_list()}))


def _further(recommendations: pl.DataFrame, sent: pl.DataFrame) -> dict[str, list[str]]:
    ours = recommendations.join(sent.select("customer_id").unique(), on="customer_id", how="semi")
    ordered = ours.sort("customer_id", "rank", "seen", "item_id", descending=[False, False, True, False])
    return dict(ordered.group_by("customer_id", maintain_order=True).agg("item_id").iter_rows())


def _facts(
    item: dict[str, Any],
    others: list[dict[str, Any]],
    names: dict[str, str],
    offer: dict[str, Any],
    book: Bank,
    source: SourceFacts,
) -> Facts:
    name = names[item["item_id"]]
    also = list(dict.fromkeys(names[other["item_id"]] for other in others if names[other["item_id"]] != name))
    brand = item["brand"] if item["brand"] and item["brand"].lower() not in BRAND_CLASSES else None
    last_day: date = offer["valid_to"]
    face = offer["face_value_minor"]
    return Facts(
        item=name,
        also=tuple(also[:ALSO]),
        category=item["category"].title(),
        brand=brand,
        valid_to=last_day.strftime(book.date_format),
        discount=None if face is None else f"{source.currency_symbol}{face // 100}.{face % 100:02d}",
    )


def _compose(
    book: Bank, tone: Tone, facts: Facts, decision_id: str, catalogue: frozenset[str]
) -> dict[str, str] | None:
    values = _values(facts, book)
    for wording in (_choose(book, tone, frozenset(values), decision_id), book.fallback):
        if wording is None:
            continue
        subject, body = wording.fill(values)
        if not problems(subject, body, facts, catalogue):
            return {"subject": subject, "body": body, "template_id": wording.id}
    return None


def _values(facts: Facts, book: Bank) -> dict[str, str]:
    """Slot -> text, only for what is known."""
    also = book.list_separator.join(facts.also) or None
    known = {
        "item": facts.item,
        "also": also,
        "category": facts.category,
        "brand": facts.brand,
        "valid_to": facts.valid_to,
        "discount": facts.discount,
    }
    return {slot: text for slot, text in known.items() if text is not None}


def _choose(book: Bank, tone: Tone, known: frozenset[str], decision_id: str) -> Wording | None:
    """One of the tone's templates whose slots are all known; one that states the discount wherever it is known."""
    usable: list[Template] = [t for t in book.templates if t.tone == tone and t.slots <= known]
    usable = [t for t in usable if "discount" in t.slots] or usable
    if not usable:
        return None
    number = int.from_bytes(hashlib.sha256(decision_id.encode()).digest()[:8], "big")
    return usable[number % len(usable)]
