"""Promotion as a step: what failed a gate is not promoted, and a champion that is kept is the one that serves."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen import pipeline
from mktgen.contracts import RANKING_METRICS, VALIDATION_CUSTOMERS, VALIDATION_RANKING
from mktgen.documents import Gate, ModelEntry, ModelSet, Promotion, TaskPromotion, TrainingPlan
from mktgen.errors import GateFailed
from mktgen.models import model_class
from mktgen.settings import ModelSettings
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.steps.conftest import PlatformOf
from tests.support.shop import around, make_shop
from tests.support.training import session

FIRST, SECOND = date(2017, 7, 2), date(2017, 7, 9)
CUT = date(2017, 6, 4)
CUSTOMERS = [f"c{number:04d}" for number in range(120)]
LEADS = {"personal_frequency": 0.0, "logistic_regression": 0.2, "popularity": -0.3}
BY = Provenance("test", "r", "", "", 0, ())
LEAK = Gate(name="point_in_time", passed=False, detail="scores with another future: 3 of 100 customers differ")


def plan(platform: Platform, day: date) -> None:
    body = TrainingPlan(
        partition=day, training_partition=day, evaluation_from=CUT, evaluation_to=day, reason="weekly schedule"
    )
    platform.store.write_document("training_plan", day, body, BY)


def judged(platform: Platform, day: date, failed: dict[str, list[Gate]]) -> None:
    """Artefacts of `validate`: three kinds of which logistic regression is surely the best in both tasks."""
    plan(platform, day)
    rng = np.random.default_rng(7)
    base, bought = rng.uniform(0.3, 0.6, len(CUSTOMERS)), rng.random(len(CUSTOMERS)) < 0.7
    rankings, chances = [], []
    for kind, lead in LEADS.items():
        marks = dict.fromkeys(RANKING_METRICS, base + lead)
        rankings.append(pl.DataFrame({"kind": kind, "customer_id": CUSTOMERS, **marks}))
        p = 0.5 + (lead + 0.1) * (bought - 0.5) + rng.uniform(0, 0.25, len(CUSTOMERS))
        labels = {"purchased_7d": bought, "purchased_28d": bought}
        columns = {"kind": kind, "customer_id": CUSTOMERS, "p_purchase_7d": p, "p_purchase_28d": p, **labels}
        chances.append(pl.DataFrame(columns))
    entries = [
        ModelEntry(kind=kind, directory=kind, metrics={}, parameters={}, gates=failed.get(kind, [])) for kind in LEADS
    ]
    models = ModelSet(training_partition=day, evaluation_from=CUT, evaluation_to=day, models=entries)
    store = platform.store
    store.write_document("model_set", day, models, BY)
    for contract, frames in ((VALIDATION_RANKING, rankings), (VALIDATION_CUSTOMERS, chances)):
        frame = pl.concat(frames).sort("kind", "customer_id").select(list(contract.columns))
        store.write_table(contract.name, day, frame, BY)


def promoted(platform: Platform, day: date) -> Promotion:
    pipeline.run_step("promote", day, platform=platform)
    return platform.store.read_document(platform.store.need("promotion", day), Promotion)


def test_the_best_honest_kind_wins_and_a_dishonest_one_does_not(platform_of: PlatformOf) -> None:
    platform = platform_of()
    judged(platform, FIRST, {"logistic_regression": [LEAK]})
    first = promoted(platform, FIRST)
    assert (first.ranking.champion, first.customer.champion) == ("personal_frequency", "personal_frequency")
    assert first.ranking.barred == {"logistic_regression": f"{LEAK.name}: {LEAK.detail}"}
    judged(platform, SECOND, {})
    second = promoted(platform, SECOND)
    assert (second.ranking.champion, second.customer.champion) == ("logistic_regression", "logistic_regression")


def test_leaking_features_bar_from_the_customer_task_alone(platform_of: PlatformOf) -> None:
    platform = platform_of()
    judged(platform, FIRST, {"logistic_regression": [LEAK.model_copy(update={"name": "label_leakage"})]})
    found = promoted(platform, FIRST)
    assert (found.ranking.champion, found.customer.champion) == ("logistic_regression", "personal_frequency")


def test_an_incumbent_that_fails_keeps_its_place_with_its_earlier_version(platform_of: PlatformOf) -> None:
    platform, everyone = platform_of(), {kind: [LEAK] for kind in LEADS}
    judged(platform, FIRST, {})
    assert promoted(platform, FIRST).ranking.kept_from is None
    for day in (SECOND, SECOND + timedelta(weeks=1)):  # kept twice, it is still the version of the first day
        judged(platform, day, everyone)
        kept = promoted(platform, day)
        for task in (kept.ranking, kept.customer):
            assert (task.champion, task.kept_from) == ("logistic_regression", FIRST)
            assert f"logistic_regression of {FIRST} stays: today's failed point_in_time" in task.reason


def test_with_nothing_honest_at_all_the_line_stops(platform_of: PlatformOf) -> None:
    platform = platform_of()
    judged(platform, FIRST, {kind: [LEAK] for kind in LEADS})
    with pytest.raises(GateFailed, match="no honest kind, and no earlier champion to keep"):
        pipeline.run_step("promote", FIRST, platform=platform)
    assert platform.store.current("promotion", FIRST) is None


def trained(platform: Platform, day: date, seed: int, place: Path) -> None:
    """Artefacts of `train` and `validate`: models that learnt another shop on each day."""
    shop, files, entries = make_shop(customers=40, items=50, seed=seed), {}, []
    for kind in ("personal_frequency", "matrix_factorisation"):
        model = model_class(kind)()
        model.fit(shop.training_set(CUT), ModelSettings(threads=1), session())
        model.save(place / kind)
        files |= {str(path.relative_to(place)): path.read_bytes() for path in sorted((place / kind).iterdir())}
        entries.append(ModelEntry(kind=kind, directory=kind, metrics={}, parameters={}))
    models = ModelSet(training_partition=day, evaluation_from=CUT, evaluation_to=day, models=entries)
    platform.store.write_files("models", day, files, BY)
    platform.store.write_document("model_set", day, models, BY)


def task(name: str, kept_from: date | None) -> TaskPromotion:
    return TaskPromotion(
        task="ranking" if name == "ranking" else "customer",
        metric="auc",
        incumbent="personal_frequency",
        challenger="personal_frequency",
        difference=None,
        champion="personal_frequency",
        reason="test",
        kept_from=kept_from,
    )


@pytest.mark.parametrize("kept_from", [None, FIRST])
def test_scores_are_those_of_the_version_that_was_kept(
    platform_of: PlatformOf, tmp_path: Path, kept_from: date | None
) -> None:
    platform = platform_of(models={"vector_model": "matrix_factorisation"})
    for day, seed in ((FIRST, 1), (SECOND, 2)):
        trained(platform, day, seed, tmp_path / str(day))
    plan(platform, SECOND)
    chosen = Promotion(training_partition=SECOND, ranking=task("ranking", None), customer=task("customer", kept_from))
    platform.store.write_document("promotion", SECOND, chosen, BY)
    history = make_shop(customers=40, items=50, seed=3).history(SECOND + timedelta(days=1))
    tables = {"sequences": history.events, "customer_features": history.features, "item_features": history.items}
    for name, frame in tables.items():
        platform.store.write_table(name, SECOND, frame, BY)
    platform.store.write_table("items", platform.source.first_day, around(history.events).items, BY)
    result = pipeline.run_step("score", SECOND, platform=platform)
    assert result.rows["item_scores"] > 0
    scores = platform.store.read_table(platform.store.need("customer_scores", SECOND))
    served = model_class("personal_frequency").load(tmp_path / str(kept_from or SECOND) / "personal_frequency")
    expected = served.probabilities(history, scores["customer_id"].to_list())
    assert_frame_equal(scores.select(expected.columns), expected, check_exact=True)
    days = {
        parent.partition
        for parent in platform.store.need("customer_scores", SECOND).parents
        if parent.artefact == "models"
    }
    assert days == {str(SECOND), str(kept_from or SECOND)}
