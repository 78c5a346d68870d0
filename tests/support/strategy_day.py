"""One day of decisions, messages and the strategy made from the small campaign world, by the real stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import polars as pl

from mktgen.copywriting import variants, writer
from mktgen.documents import Strategy
from mktgen.settings import StrategySettings
from mktgen.strategy.decision_rows import Versions
from mktgen.strategy.document import SourceNote, StrategyInputs, build_strategy
from mktgen.strategy.mailings import redemption_examples
from mktgen.strategy.offers import offer_scores
from mktgen.strategy.policy import decide
from mktgen.strategy.redemption import fit_redemption
from mktgen.strategy.segments import segment
from tests.support.campaign_world import PARTITION, World, make_world

SETTINGS = StrategySettings(budget_minor=9_000)
NOBODY = pl.DataFrame(schema={"customer_id": pl.String, "contacts": pl.Int64})
NO_RECOMMENDATIONS = pl.DataFrame(
    schema={"customer_id": pl.String, "item_id": pl.String, "seen": pl.Boolean, "rank": pl.Int32}
)


@dataclass(frozen=True)
class Day:
    world: World
    held_out: pl.DataFrame
    scores: pl.DataFrame
    segments: pl.DataFrame
    decisions: pl.DataFrame
    recommendations: pl.DataFrame
    messages: pl.DataFrame
    strategy: Strategy


@cache
def make_day() -> Day:
    world = make_world()
    found = redemption_examples(
        world.exposures,
        world.campaigns,
        world.responses,
        world.offers,
        world.offer_items,
        world.lines,
        world.features_at_start,
        PARTITION,
    )
    model, held_out = fit_redemption(found, PARTITION, 1, bootstrap=20)
    scores = offer_scores(
        world.customers,
        world.features,
        world.lines,
        world.campaigns,
        world.offers,
        world.offer_items,
        world.items,
        world.item_scores,
        world.exposures,
        world.responses,
        model,
        PARTITION,
        SETTINGS,
    )
    segments, members = segment(world.features, world.scores, world.customers, SETTINGS, 1)
    recommendations = world.item_scores.select("customer_id", "item_id", "seen", "rank")
    versions = Versions(model="m1", config="c1", policy="p1", derivation="d1")
    result = decide(scores, members, SETTINGS, PARTITION, 1, versions, "key", NOBODY, recommendations)
    texts = writer.Day(result.decisions, recommendations, world.items, world.offers, segments, world.campaigns)
    inputs = StrategyInputs(
        PARTITION,
        SourceNote("test_shop", "made up for tests"),
        result.decisions,
        scores,
        segments,
        world.campaigns,
        world.offers,
        world.items,
        result.allocation,
        variants.examples(variants.variants(texts, SETTINGS.languages, {}), "email"),
        {"policy": versions.policy},
        [*result.notes, model.note],
    )
    return Day(
        world,
        held_out,
        scores,
        segments,
        result.decisions,
        recommendations,
        writer.write_messages(texts, SETTINGS),
        build_strategy(inputs, SETTINGS),
    )
