"""What a person must know before a day's strategy is sent, on one screen of Markdown.

Whatever came from data or from people (names, labels, reasons, messages) is shown as the characters it is: it can become no
markup, link or picture. The length is bounded whatever the strategy holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from mktgen.documents import Campaign, Gate, Interval, Strategy

SAMPLES: Final = 3
LONGEST: Final = 40_000  # characters of the source where every sign needs its escape; a usual text has 3,000
_CAMPAIGNS, _OFFERS, _REASONS, _REFUSED = 4, 3, 3, 6
_PHRASE, _SENTENCE, _MESSAGE = 80, 250, 900  # characters of a name, of a reason, of a message as it is read
# All that means something. Airflow's reader and MLflow's both know these escapes and entities, and no others alike.
_ESCAPES: Final = {sign: f"\\{sign}" for sign in "\\`*_[]~|#+-=.)"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_SIGNS: Final = str.maketrans(_ESCAPES)
# What they make links of although nobody marked it as one, escaped or not: cut by a sign of no width.
_LINKS: Final = re.compile(r"(?<=:)(?=/)|(?<=w)(?=\.)|(?<=@)", re.IGNORECASE)
_CUT: Final = "\u2060"
_STANDING: Final = {
    "proven": "Proven", "experiment": "An experiment", "futile": "Nothing to explore", "not_judged": "Not judged",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A message as its customer will read it. subject: "" where the form has none."""

    campaign_id: str
    segment_id: str
    form: str
    language: str
    subject: str
    body: str


def samples(decisions: pl.DataFrame, messages: pl.DataFrame) -> list[Sample]:
    """Up to SAMPLES of contracts.MESSAGES, of different campaigns where there are, else of different segments; the same
    ones on every run. decisions: contracts.DECISIONS."""
    group = ["campaign_id", "segment_id"]
    ordered = messages.join(decisions.select("decision_id", "segment_id"), on="decision_id").sort("decision_id")
    turns = ordered.select(group).unique().sort(group).with_columns(turn=pl.int_range(pl.len()).over("campaign_id"))
    ranked = ordered.join(turns, on=group).with_columns(place=pl.int_range(pl.len()).over(group))
    chosen = ranked.sort("place", "turn", *group, "decision_id").head(SAMPLES)
    return [Sample(*row) for row in chosen.select([*group, "form", "language", "subject", "body"]).iter_rows()]


def approval_text(strategy: Strategy, shown: Iterable[Sample]) -> str:
    """Audience, spend, gates, standing, what is refused, and messages as they will be read. At most LONGEST characters."""
    parts = [
        [f"**{strategy.source}**: {plain(strategy.source_notice, _SENTENCE)}"],
        [f"- {line}" for line in (*_who(strategy), *_money(strategy), *_standing(strategy), *_gates(strategy))],
        ["### Campaigns", "", *_campaigns(strategy)],
        *(["### Messages, as customers will read them", "", *_messages(told)] for told in [list(shown)] if told),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def plain(text: str, longest: int = _PHRASE) -> str:
    """Foreign text as one line of Markdown that shows just these characters; signs that nobody sees are left out."""
    seen = "".join(
        letter for letter in " ".join(text.split()) if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co")
    )
    short = seen if len(seen) <= longest else f"{seen[: longest - 1]}…"
    return _LINKS.sub(_CUT, short).translate(_SIGNS)


def literal(text: str, longest: int = _MESSAGE) -> list[str]:
    """Lines of a block that shows a text as it is, whatever it holds."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    fence = "`" * (max((len(run) for run in re.findall(r"`+", short)), default=0) + 3)
    return [f"{fence}text", *short.splitlines(), fence]


def _who(strategy: Strategy) -> list[str]:
    alone = strategy.customers - strategy.contacted - strategy.holdout
    return [
        f"**Who**: {strategy.contacted:,} of {strategy.customers:,} customers are contacted, {strategy.holdout:,} are held out "
        f"to measure against, {alone:,} are left alone"
    ]


def _money(strategy: Strategy) -> list[str]:
    plan = strategy.allocation
    told = (
        f"**Spend**: expected {_money_of(plan.expected_cost_minor)}, at worst {_money_of(plan.worst_case_cost_minor)} of a "
        f"budget of {_money_of(plan.budget_minor)}"
    )
    values = [campaign.expected_value_minor for campaign in strategy.campaigns if campaign.expected_value_minor]
    if not values:
        return [told]
    learned = all(value.method.startswith("incremental") for value in values)
    kind = "against no contact, learned from trials" if learned else "under assumptions; NOT incremental"
    low, value, high = (sum(getattr(one, name) for one in values) for name in ("low", "value", "high"))
    return [told, f"**Expected value** {kind}: {_range(Interval(value=value, low=low, high=high), 0.01)}"]


def _standing(strategy: Strategy) -> list[str]:
    launch = strategy.launch
    return [f"**On past trials**: {_STANDING[launch.standing]}: {plain(launch.reason, _SENTENCE)}"] if launch else []


def _gates(strategy: Strategy) -> list[str]:
    evaluation = strategy.evaluation
    if evaluation is None:
        return ["**Gates**: not evaluated"]
    passed, failed, idle = (
        [gate for gate in evaluation.gates if gate.passed is state] for state in (True, False, None)
    )
    counts = f"**Gates**: {len(passed)} passed, {len(failed)} FAILED, {len(idle)} not applicable"
    told = [counts, *(_failed(gate) for gate in failed[:_REASONS])]
    told += [f"and {len(failed) - _REASONS} more"] if len(failed) > _REASONS else []
    refused = evaluation.refused[:_REFUSED]
    if refused:
        words = "; ".join(
            f"{plain(one.metric)} (needs {plain(', '.join(map(_lacking, one.missing)))})" for one in refused
        )
        more = len(evaluation.refused) - len(refused)
        told.append(f"**Not known**, because the data can't support it: {words}{f'; and {more} more' if more else ''}")
    return told


def _lacking(capability: str) -> str:
    return capability.removeprefix("has_").replace("_", " ")


def _failed(gate: Gate) -> str:
    return f"**FAILED** {plain(gate.name)}: {plain(gate.detail, _SENTENCE)}"


def _campaigns(strategy: Strategy) -> list[str]:
    told = [_campaign(campaign) for campaign in strategy.campaigns[:_CAMPAIGNS]]
    more = len(strategy.campaigns) - len(told)
    return [*(told or ["Nobody is contacted today."]), *([f"- and {more} more: see the page"] if more else [])]


def _campaign(campaign: Campaign) -> str:
    name, audience = (plain(texts.get("en", ""), _SENTENCE) for texts in (campaign.name, campaign.audience))
    offers = "; ".join(plain(offer.label) for offer in campaign.offers[:_OFFERS])
    told = (
        f"- **{name or plain(campaign.campaign_id)}**, {campaign.customers:,} customers: {audience}. Offers: {offers}. By "
        f"{plain(campaign.channel)} at {plain(campaign.send_at_local)}, at most {_money_of(campaign.worst_case_cost_minor)}"
    )
    if campaign.expected_redemptions is not None:
        told += f"; {_range(campaign.expected_redemptions, 1.0)} are expected to redeem"
    return told


def _messages(shown: list[Sample]) -> list[str]:
    told = []
    for sample in shown:
        words = (sample.campaign_id, sample.segment_id, sample.form, sample.language)
        told += ["Campaign {}, class {}, {} in {}:".format(*map(plain, words)), ""]
        told += [*literal(f"{sample.subject}\n\n{sample.body}" if sample.subject else sample.body), ""]
    return told


def _money_of(minor: float) -> str:
    return f"{minor / 100:,.2f}"


def _range(interval: Interval, unit: float) -> str:
    return f"{interval.value * unit:,.1f} ({interval.low * unit:,.1f} to {interval.high * unit:,.1f})"
