"""Score the customers, segment them, recommend, allocate, write."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache, partial
from typing import Final

import polars as pl

from mktgen.config import config_version
from mktgen.contracts import CATEGORY_SCORES, CUSTOMER_SCORES, ITEM_SCORES
from mktgen.copywriting import brief, variants, writer
from mktgen.documents import AllocationReport, CopyReport, LaunchEvidence, Promotion
from mktgen.execution.channels import channel_class
from mktgen.models.base import CategoryModel, History, Model, VectorModel
from mktgen.settings import FeatureSettings
from mktgen.steps import drafting, learning_words, proposing, responding
from mktgen.steps.data import days_between
from mktgen.steps.dispatched import decisions_in_force
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import CAMPAIGN_TABLES, REDEMPTION, campaign_reads, training_day
from mktgen.steps.validation import champion_days, load_model
from mktgen.steps.worlds import PLAN_DAYS, around, around_reads
from mktgen.strategy import (
    arms,
    class_summary,
    contact_history,
    document,
    exclusions,
    launch,
    mailings,
    offers,
    policy,
    recommendations,
    redemption,
    segments,
    turns,
)  # fmt: skip
from mktgen.strategy.decision_rows import NO_CONTACT, Versions
from mktgen.strategy.exploration import narrowed

SCORING: Final = ("sequences", "customer_features", "item_features")
# Some hundreds of megabytes at once, while what each block costs anew (the output layer of the catalogue) is little beside
# the scoring. Not a setting: the last bits of a network's answers depend on who shares a batch.
CUSTOMERS_AT_ONCE: Final = 4_096


def today(names: tuple[str, ...], day: date, written_by: str) -> list[Read]:
    return [Read(name, (day,), True, written_by) for name in names]


def active_customers(features: pl.DataFrame, settings: FeatureSettings) -> list[str]:
    """Customers with an order in the last `active_days`, in order."""
    return features.filter(pl.col("recency_days") <= settings.active_days)["customer_id"].sort().to_list()


# -- score --------------------------------------------------------------------------------------------------------------
def score_reads(day: date, platform: Platform) -> list[Read]:
    plans = around_reads(day - timedelta(days=PLAN_DAYS), day, platform)
    return [*champion_reads(day, platform), *today(SCORING, day, "extract_features"), *plans]


_TRAINED: Final = (("promotion", "promote"), ("models", "train"), ("model_set", "validate"))


def champion_reads(day: date, platform: Platform) -> list[Read]:
    """What was promoted for a day, and the models that serve it: of its training day, or kept from an earlier one."""
    training = training_day(day, platform)
    days = champion_days(training, platform)
    return [Read(name, (training,) if name == "promotion" else days, True, step) for name, step in _TRAINED]


def score(run: Run) -> Outcome:
    """Probabilities and rankings by the champions, vectors and categories by the behaviour Transformer, for every active
    customer.

    Customers come, and their scores go, in blocks: memory doesn't grow with their number.
    """
    settings, promotion = run.settings, run.document("promotion", Promotion)
    cut, items, known = run.day + timedelta(days=1), run.table("item_features"), around(run)
    ranker, predictor, embedder = _champions(run, promotion)
    scores, rankings, likely = (run.parts(name) for name in ("customer_scores", "item_scores", "category_scores"))
    for block in run.blocks(("sequences", "customer_features"), "customer_id", CUSTOMERS_AT_ONCE):
        facts = block["customer_features"]
        customers = active_customers(facts, settings.features)
        if not customers:
            continue
        history = History(cut, block["sequences"], facts, items, **known.before(cut))
        ranked = ranker.rank(history, customers, settings.models.top_k)
        rankings.add(ranked.with_columns(ranking_model=pl.lit(ranker.kind)).select(list(ITEM_SCORES.columns)))
        if isinstance(embedder, CategoryModel):
            categories = embedder.categories(history, customers, settings.models.top_categories)
            likely.add(_ranked(categories, embedder.kind))
        chances = predictor.probabilities(history, customers)
        vectors = embedder.vectors(history, customers)
        scored = chances.join(vectors, on="customer_id").with_columns(
            p_churn_28d=1.0 - pl.col("p_purchase_28d"), customer_model=pl.lit(predictor.kind)
        )
        scores.add(scored.select(list(CUSTOMER_SCORES.columns)).sort("customer_id"))
    note = f"{scores.rows} active customers; ranking by {ranker.kind}, purchase and churn by {predictor.kind}"
    return Outcome(parts=[scores, rankings, likely], notes=[note])


def _ranked(categories: pl.DataFrame, kind: str) -> pl.DataFrame:
    """contracts.CATEGORY_SCORES of Model.categories' frame, whose rows come by rank."""
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("customer_id")
    named = categories.with_columns(rank.alias("rank"), pl.lit(kind).alias("category_model"))
    return named.select(list(CATEGORY_SCORES.columns)).sort(CATEGORY_SCORES.key)


def _champions(run: Run, promotion: Promotion) -> tuple[Model, Model, VectorModel]:
    """Who ranks, who foretells purchases and who gives vectors; a model with several parts is loaded once."""
    load = cache(partial(load_model, run))
    embedder = load(run.settings.models.vector_model, None)
    if not isinstance(embedder, VectorModel):
        raise TypeError(f"models.vector_model = {run.settings.models.vector_model} has no customer vectors")
    ranking, customer = promotion.ranking, promotion.customer
    return load(ranking.champion, ranking.kept_from), load(customer.champion, customer.kept_from), embedder


# -- segment and recommend ----------------------------------------------------------------------------------------------
def segment_reads(day: date, platform: Platform) -> list[Read]:
    return [*today(("customer_features",), day, "extract_features"), *today(("customer_scores",), day, "score")]


def segment(run: Run) -> Outcome:
    facts = run.table("customer_features")
    active = active_customers(facts, run.settings.features)
    profiles, members = segments.segment(
        facts, run.table("customer_scores"), active, run.settings.strategy, run.settings.seed
    )
    notes = [f"{row['segment_id']} {row['name_en']}: {row['customers']}" for row in profiles.iter_rows(named=True)]
    return Outcome(tables={"segments": profiles, "customer_segments": members}, notes=notes)


def recommend_reads(day: date, platform: Platform) -> list[Read]:
    state = ("item_features", "customer_categories", "sequences")
    return [*today(("item_scores",), day, "score"), *today(state, day, "extract_features"), catalogue(platform)]


def recommend(run: Run) -> Outcome:
    chosen = recommendations.recommend(
        run.table("item_scores"), run.table("items"), run.table("item_features"), run.table("customer_categories"),
        run.settings.strategy, run.table("sequences"), run.day,
    )  # fmt: skip
    new = chosen.filter(~pl.col("seen")).height
    return Outcome(tables={"recommendations": chosen}, notes=[f"{chosen.height} recommendations, {new} of new items"])


def catalogue(platform: Platform) -> Read:
    return Read("items", (platform.source.first_day,), True, "reference")


# -- allocate -----------------------------------------------------------------------------------------------------------
def allocate_reads(day: date, platform: Platform) -> list[Read]:
    training = training_day(day, platform)
    return [
        *(Read(name, (training,), True, step) for name, step in _TRAINED),
        *today(("customer_features",), day, "extract_features"),
        _affinity_lines(day, platform),
        *today(("item_scores", "customer_scores"), day, "score"),
        *today(("customer_segments",), day, "segment"),
        *today(("recommendations",), day, "recommend"),
        *responding.serving_reads(day, platform),
        *today(("response_facts",), day, "estimate_response"),
        *today(("launch_evidence",), day, "judge_policy"),
        catalogue(platform),
        *campaign_reads(day, platform),
        recent_sends(day, platform),
        _running_trials(day, platform),
    ]


def _running_trials(day: date, platform: Platform) -> Read:
    """The decisions that were dispatched, and whose window is not over by the end of today."""
    since = day - timedelta(days=platform.settings.response.window_days)
    days = [found for found in platform.store.partitions("sends") if since < found < day]
    return Read("decisions", (), manifests=decisions_in_force(platform, days))


def _affinity_lines(day: date, platform: Platform) -> Read:
    """The lines that affinity looks at, all of them as in training (`sequences` would cut heavy buyers short)."""
    first = max(day - timedelta(days=mailings.AFFINITY_DAYS - 1), platform.source.first_day)
    return Read("order_lines", days_between(first, day), True, "clean")


def recent_sends(day: date, platform: Platform) -> Read:
    """What was really sent in the days that caps and exclusions look back on: with today so many days, as the ledger."""
    settings = platform.settings
    since = day - timedelta(days=contact_history.widest_days(settings.contact, settings.strategy.contact_cap_days) - 1)
    days = tuple(found for found in platform.store.partitions("sends") if since <= found < day)
    return Read("sends", days, required=False)


def recent_contacts(run: Run) -> pl.DataFrame:
    """customer_id, contacts (Int64) inside the cap's window; a send that may have arrived counts as one that did."""
    since = run.day - timedelta(days=run.settings.strategy.contact_cap_days)
    made = run.table("sends").filter((pl.col("status") != "refused") & (pl.col("sent_for") > since))
    return made.group_by("customer_id").agg(contacts=pl.len().cast(pl.Int64)).sort("customer_id")


def campaign_types(campaigns: pl.DataFrame) -> dict[str, str]:
    return dict(campaigns.select("campaign_id", "campaign_type").sort("campaign_id").iter_rows())


def allocate(run: Run) -> Outcome:
    """Candidates, budget, propensities: one decision for every active customer."""
    settings, campaigns = run.settings, {name: run.table(name) for name in CAMPAIGN_TABLES}
    facts, lines = run.table("customer_features"), run.table("order_lines").filter("merchandise")
    model = redemption.RedemptionModel.from_bytes(run.files("models", f"{REDEMPTION}/")[f"{REDEMPTION}/model.json"])
    candidates = offers.offer_scores(
        active_customers(facts, settings.features), facts, lines.select(mailings.LINE_COLUMNS),
        campaigns["campaigns"], campaigns["offers"], campaigns["offer_items"], run.table("items"),
        run.table("item_scores"), campaigns["exposures"], campaigns["responses"], model, run.day, settings.strategy,
        once=not run.platform.source.renews_offers,
    )  # fmt: skip
    candidates, draws = responding.worth(run, candidates, settings)
    types = campaign_types(campaigns["campaigns"])
    evidence = run.document("launch_evidence", LaunchEvidence)
    waits = _waiting(run, evidence)
    any_day = contact_history.contactable(candidates, run.table("sends"), settings.contact, types, run.day)
    allowed = any_day.join(waits, on="customer_id", how="anti")
    versions = Versions(
        model_version(run), config_version((settings.strategy,))[:12], policy.POLICY_VERSION, run.run_id
    )
    bounded = launch.bounded(narrowed(settings.strategy, responding.trials_behind(run)), evidence)
    result = policy.decide(
        allowed, run.table("customer_segments"), bounded, run.day, settings.seed, versions,
        holdout_key(run), recent_contacts(run), run.table("recommendations"), draws,
    )  # fmt: skip
    eligible = _eligible(run, allowed)
    plan = AllocationReport(
        partition=run.day,
        allocation=result.allocation,
        notes=[
            turns.told(run.table("customer_segments").height, waits),
            model.note,
            responding.value_note(run),
            launch.told(bounded, evidence),
            *result.notes,
        ],
        versions=versions.__dict__,
        next_experiment=proposing.next_experiment(run, _eligible(run, any_day), draws),
    )
    contacts = result.decisions.filter(pl.col("action") != NO_CONTACT).height
    note = (
        f"{result.decisions.height} decisions, {contacts} contacts, {result.decisions['holdout'].sum()} held out; worst case "
        f"{plan.allocation.worst_case_cost_minor} of {plan.allocation.budget_minor}, gap {plan.allocation.gap_share:.3%}"
    )
    return Outcome(
        tables={
            "offer_scores": candidates,
            "decisions": result.decisions,
            "excluded_offers": _excluded(run, candidates, eligible, types, waits),
        },
        documents={"allocation": plan},
        notes=[note, *plan.notes],
    )


def holdout_key(run: Run) -> str:
    """What the hash of arms is keyed with: the same on every day and rerun."""
    return f"holdout:{run.settings.seed}"


def _arms(run: Run) -> pl.DataFrame:
    customers = run.table("customer_segments")["customer_id"].sort()
    return arms.arms(customers, run.settings.strategy, holdout_key(run))


def _eligible(run: Run, allowed: pl.DataFrame) -> pl.DataFrame:
    """The candidates that the policy draws from."""
    strategy = run.settings.strategy
    return policy.eligible_candidates(allowed, _arms(run), strategy, holdout_key(run), recent_contacts(run))


def _waiting(run: Run, evidence: LaunchEvidence) -> pl.DataFrame:
    """The customers who are not decided on today: all of them where past trials say that no contact pays."""
    customers, strategy = run.table("customer_segments")["customer_id"], run.settings.strategy
    if evidence.standing == "futile":
        return pl.DataFrame({"customer_id": customers}).with_columns(
            rule=pl.lit(exclusions.FUTILE), detail=pl.lit(evidence.reason)
        )
    before, window = run.tables_by_day("decisions"), run.settings.response.window_days
    return turns.waiting(customers, run.day, strategy, holdout_key(run), before, window)


def _excluded(
    run: Run, candidates: pl.DataFrame, eligible: pl.DataFrame, types: dict[str, str], waits: pl.DataFrame
) -> pl.DataFrame:
    """contracts.EXCLUDED_OFFERS of the day."""
    settings, key = run.settings, holdout_key(run)
    return exclusions.excluded_offers(
        candidates, eligible, _arms(run), recent_contacts(run), run.table("sends"), types, settings.strategy,
        settings.contact, run.day, key, waits,
    )  # fmt: skip


def model_version(run: Run) -> str:
    """Names the trained models a decision rests on: by day and content; the response model is named where one serves."""
    names = [f"{found.partition}/{found.digest[:12]}" for found in run.inputs["models"][-1:]]
    names += [f"response {found.partition}/{found.digest[:12]}" for found in run.inputs["response_model"][-1:]]
    return ", ".join(names)


# -- write --------------------------------------------------------------------------------------------------------------
def brief_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *today(("decisions", "offer_scores", "allocation"), day, "allocate"),
        *today(("recommendations",), day, "recommend"),
        *today(("segments",), day, "segment"),
        *today(("reasons",), day, "explain"),
        *today(("wording_model",), day, "learn_wording"),
        *today(("wordings", "copy_report"), day, "write_copy"),
        *today(("customer_classes", "response_scores"), day, "estimate_response"),
        catalogue(platform),
        *(read for read in campaign_reads(day, platform) if read.artefact in ("campaigns", "offers")),
    ]


def write_briefs(run: Run) -> Outcome:
    """Messages for the contacted, the draft of the day's strategy, and a brief of each campaign."""
    settings, source = run.settings.strategy, run.platform.source
    plan = run.document("allocation", AllocationReport)
    names = ("decisions", "recommendations", "items", "offers", "segments", "campaigns")
    decisions, recommended, items, terms, profiles, campaigns = (run.table(name) for name in names)
    day = writer.Day(decisions, recommended, items, terms, profiles, campaigns)
    form = channel_class(settings.channel).form
    pool = learning_words.pool(run, form, settings.languages[0], drafting.drafts_of(run.table("wordings")))
    messages = writer.write_messages(day, settings, form, pool)
    drawn_from = pool.log()  # before briefs look at it for other cells
    told = variants.variants(day, settings.languages, {(pool.form, pool.language): pool})
    effects = run.table("response_scores")
    classes = class_summary.class_summaries(run.table("customer_classes"), decisions, effects)
    draft = document.build_strategy(
        document.StrategyInputs(
            partition=run.day,
            source=document.SourceNote(source.name, source.notice),
            decisions=decisions,
            offer_scores=run.table("offer_scores"),
            segments=profiles,
            campaigns=campaigns,
            offers=terms,
            items=items,
            allocation=plan.allocation,
            copy_examples=variants.examples(told, form),
            reasons=run.table("reasons").filter(pl.col("about") == "item"),
            versions=plan.versions,
            notes=[*plan.notes, drafting.told(run.document("copy_report", CopyReport))],
            effects=None if effects.is_empty() else effects,
            classes=classes,
            next_experiment=plan.next_experiment,
        ),
        settings,
    )
    sees = source.capabilities
    around = brief.Surroundings(run.settings.feedback.window_days, sees.has_clicks, source.live, form)
    briefs = brief.write_briefs(draft, day, told, around, settings)
    fallbacks = messages.filter(pl.col("origin") == "fallback").height
    note = f"{len(draft.campaigns)} campaigns, {messages.height} messages, {fallbacks} in other words than were drawn"
    return Outcome(
        tables={"messages": messages, "wording_pool": drawn_from},
        documents={"strategy_draft": draft, "briefs": briefs},
        notes=[note],
    )
