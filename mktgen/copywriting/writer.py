"""Messages for the customers to be contacted: a wording drawn from the pool, filled with the decision's facts, verified.

Language: the data say nothing about a customer's language, so every message is in settings.languages[0]; the strategy
document shows an example in each language. A product is named by its category in the catalogue's own words: item
types are cut off at 30 characters there ("Can Catfd Gourmet/Sup Prem (Gr").

A message that the verifier refuses is replaced by the next wording of the pool, then by the bank's plain one; where that is
refused too, there is no message, and the gate `message_per_contact` stops the strategy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from mktgen.contracts import MESSAGES
from mktgen.copywriting.bank import bank
from mktgen.copywriting.facts import Facts, facts
from mktgen.copywriting.forms import FORMS, FormName
from mktgen.copywriting.pool import Pool
from mktgen.copywriting.verifier import Text, problems
from mktgen.copywriting.wording import Tone, Wording
from mktgen.settings import StrategySettings

ALSO: Final = 2  # further items named in a message


@dataclass(frozen=True)
class SourceFacts:
    """What the source knows about money: the symbol put before an amount."""

    currency_symbol: str = "$"


@dataclass(frozen=True)
class Day:
    """What messages of a day are written from: tables by contract, `segments` with profiles."""

    decisions: pl.DataFrame
    recommendations: pl.DataFrame
    items: pl.DataFrame
    offers: pl.DataFrame
    segments: pl.DataFrame
    campaigns: pl.DataFrame
    source: SourceFacts = SourceFacts()


@dataclass(frozen=True)
class Written:
    """What one contact is told. origin: of the wording, or `fallback` where it took the place of the one that was drawn;
    chance: of the one that was drawn; cell: what it was drawn from."""

    wording: Wording
    text: Text
    origin: str
    chance: float
    cell: str


def write_messages(
    day: Day, settings: StrategySettings, form: FormName = "email", pool: Pool | None = None
) -> pl.DataFrame:
    """contracts.MESSAGES for the contacted decisions, sorted by decision_id.

    Further items come from the decision's item_ids, and where those name only the offer's item, from the
    recommendations. The wording is drawn by the pool's chances and a hash of the decision, so that reruns give the same
    text; wording_propensity is the chance of the wording that was drawn, origin `fallback` where another had to take its place.
    """
    pool = pool or Pool(form, settings.languages[0])
    rows = [
        {
            **{name: decision[name] for name in ("decision_id", "customer_id", "campaign_id", "channel")},
            "form": pool.form,
            "language": pool.language,
            "subject": said.text.subject,
            "body": said.text.body,
            "wording_id": said.wording.id,
            "origin": said.origin,
            "wording_propensity": said.chance,
            "cell": said.cell,
        }
        for decision, said in written(day, contacted(day.decisions), pool)
    ]
    return MESSAGES.check(pl.DataFrame(rows, schema=MESSAGES.columns).sort("decision_id"))


def contacted(decisions: pl.DataFrame) -> pl.DataFrame:
    """Decisions (contracts.DECISIONS) that contact somebody."""
    return decisions.filter(pl.col("offer_id").is_not_null())


def written(day: Day, contacts: pl.DataFrame, pool: Pool) -> Iterator[tuple[dict[str, Any], Written]]:
    """Each of `contacts` (rows of contracts.DECISIONS) with what it is told, in order of decision_id; one of which nothing true
    can be said is left out, and the gate on messages stops the strategy."""
    sent = contacts.sort("decision_id")
    names, tones = item_names(day.items), segment_tones(day.segments)
    terms = {row["offer_id"]: row for row in day.offers.iter_rows(named=True)}
    further, running = _further(day.recommendations, sent), set(day.campaigns["campaign_id"].to_list())
    texts: dict[tuple[str, Facts], Text | None] = {}  # many customers get the same words
    for decision in sent.iter_rows(named=True):
        offer, shown = terms.get(decision["offer_id"]), decision["item_ids"][:1]
        if offer is None or not shown or shown[0] not in names or decision["campaign_id"] not in running:
            continue
        others = decision["item_ids"][1:] or further.get(decision["customer_id"], [])
        also = list(dict.fromkeys(names[item] for item in others if item in names and names[item] != names[shown[0]]))
        told = facts(
            pool.language,
            names[shown[0]],
            also[:ALSO],
            offer["face_value_minor"],
            offer["valid_to"],
            day.source.currency_symbol,
        )
        said = _compose(pool, tones.get(decision["segment_id"], "everyday"), told, decision["decision_id"], texts)
        if said is not None:
            yield decision, said


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


def item_names(items: pl.DataFrame) -> dict[str, str]:
    """item_id -> its category in title case, of merchandise (see above why not its type)."""
    label = pl.col("category").str.replace_all(r"\s+", " ").str.strip_chars().str.to_titlecase()
    return dict(items.filter("merchandise").select("item_id", label.alias("name")).iter_rows())


def _further(recommendations: pl.DataFrame, sent: pl.DataFrame) -> dict[str, list[str]]:
    ours = recommendations.join(sent.select("customer_id").unique(), on="customer_id", how="semi")
    ordered = ours.sort("customer_id", "rank", "seen", "item_id", descending=[False, False, True, False])
    return dict(ordered.group_by("customer_id", maintain_order=True).agg("item_id").iter_rows())


def _compose(
    pool: Pool, tone: Tone, told: Facts, decision_id: str, texts: dict[tuple[str, Facts], Text | None]
) -> Written | None:
    """The first wording that the verifier lets pass: the one drawn, the others, the plain one."""
    known = frozenset(told.values)
    drawn = pool.drawn(tone, known, decision_id)
    plain = bank(pool.language).fallback(pool.form, tone)
    for place, wording in enumerate((*(one for one, _ in drawn), plain)):
        text = _verified(wording, told, texts)
        if text is not None:
            origin = wording.origin if place == 0 and drawn else "fallback"
            return Written(wording, text, origin, drawn[0][1] if drawn else 1.0, pool.cell(tone, known))
    return None


def _verified(wording: Wording, told: Facts, texts: dict[tuple[str, Facts], Text | None]) -> Text | None:
    key = (wording.id, told)
    if key not in texts:
        text = wording.fill(told)
        texts[key] = None if problems(text, told, FORMS[wording.form]) else text
    return texts[key]
