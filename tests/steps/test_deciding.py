"""What the deciding steps read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mktgen import pipeline
from mktgen.documents import ModelEntry, ModelSet, Promotion, TaskPromotion, TrainingPlan
from mktgen.evaluation import sameness
from mktgen.models import model_class
from mktgen.models.base import CategoryModel, VectorModel
from mktgen.settings import ModelSettings, TransformerSettings
from mktgen.steps import deciding
from mktgen.steps.deciding import active_customers, allocate_reads, recent_sends
from mktgen.store import Provenance
from mktgen.strategy.mailings import AFFINITY_DAYS
from tests.steps.conftest import PlatformOf
from tests.support.shop import around, make_shop
from tests.support.training import session

DAY = date(2017, 10, 3)
CUT = date(2017, 6, 4)
SMALL = ModelSettings(
    threads=1, transformer=TransformerSettings(width=16, events=32, batch_customers=16, min_item_lines=3)
)
NOBODY = Provenance("test", "r", "", "", 0, ())


def test_affinity_is_decided_on_the_lines_it_was_learned_on(platform_of: PlatformOf) -> None:
    """84 days of order lines, today included: sequences would hold less of a heavy buyer."""
    platform = platform_of()
    plan = TrainingPlan(
        partition=DAY, training_partition=DAY, evaluation_from=DAY, evaluation_to=DAY, reason="weekly schedule"
    )
    platform.store.write_document("training_plan", DAY, plan, NOBODY)
    lines = [read for read in allocate_reads(DAY, platform) if read.artefact == "order_lines"]
    assert [(read.days[0], read.days[-1], read.required) for read in lines] == [
        (DAY - timedelta(days=AFFINITY_DAYS - 1), DAY, True)
    ]


def test_a_contact_a_whole_cap_ago_is_out_of_the_window_as_in_the_ledger(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy={"contact_cap_days": 7})
    for back in (0, 1, 6, 7):
        platform.objects.put(f"sends/dt={DAY - timedelta(days=back)}/_current.json", b"{}")
    assert recent_sends(DAY, platform).days == (DAY - timedelta(days=6), DAY - timedelta(days=1))


@dataclass(frozen=True)
class Scored:
    scores: pl.DataFrame
    rankings: pl.DataFrame
    files: dict[str, tuple[tuple[str, str, int], ...]]


ScoredBy = Callable[[str, int], Scored]


@pytest.fixture
def scored(platform_of: PlatformOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoredBy:
    """scored(kind, size): the step's artefacts where `kind` ranks and foretells, in blocks of `size` customers.

    A kind without vectors has matrix factorisation's beside it.
    """
    shop = make_shop(customers=40, items=50, days=280)
    shown = shop.history(DAY + timedelta(days=1))
    # A customer without features, one without events, and one who has long been away.
    first, second, away = shown.features["customer_id"][:3]
    gone = pl.when(pl.col("customer_id") == away).then(400.0).otherwise("recency_days").alias("recency_days")
    tables = {
        "sequences": shown.events.filter(pl.col("customer_id") != second),
        "customer_features": shown.features.filter(pl.col("customer_id") != first).with_columns(gone),
        "item_features": shown.items,
    }

    def run(kind: str, size: int) -> Scored:
        embedder = kind if issubclass(model_class(kind), VectorModel) else "matrix_factorisation"
        platform = platform_of(f"/{kind}-{size}", models={"vector_model": embedder, "threads": 1})
        store, place, entries = platform.store, tmp_path / f"{kind}-{size}", []
        for name in sorted({kind, embedder}):
            model = model_class(name)()
            model.fit(shop.training_set(CUT), SMALL, session())
            model.save(place / name)
            entries.append(ModelEntry(kind=name, directory=name, metrics={}, parameters={}))
        files = {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
        store.write_files("models", DAY, files, NOBODY)
        span = {"training_partition": DAY, "evaluation_from": DAY, "evaluation_to": DAY}
        store.write_document("model_set", DAY, ModelSet(**span, models=entries), NOBODY)
        store.write_document("training_plan", DAY, TrainingPlan(partition=DAY, reason="test", **span), NOBODY)
        tasks = {
            name: TaskPromotion.model_validate(
                {"task": name, "metric": "auc", "incumbent": kind, "challenger": kind, "difference": None}
                | {"champion": kind, "reason": "test", "kept_from": None}
            )
            for name in ("ranking", "customer")
        }
        store.write_document("promotion", DAY, Promotion(training_partition=DAY, **tasks), NOBODY)
        for name, frame in tables.items():
            store.write_table(name, DAY, frame, NOBODY)
        known = around(shown.events)
        store.write_table("items", platform.source.first_day, known.items, NOBODY)
        store.write_table("customers", platform.source.first_day, known.customers, NOBODY)
        monkeypatch.setattr(deciding, "CUSTOMERS_AT_ONCE", size)
        pipeline.run_step("score", DAY, platform=platform)
        written = {name: store.need(name, DAY) for name in ("customer_scores", "item_scores", "category_scores")}
        scores, rankings, likely = (store.read_table(manifest) for manifest in written.values())
        assert likely["customer_id"].unique().sort().to_list() == (
            scores["customer_id"].to_list() if issubclass(model_class(embedder), CategoryModel) else []
        )
        expected = active_customers(tables["customer_features"], platform.settings.features)
        assert scores["customer_id"].to_list() == expected
        assert away not in expected
        return Scored(scores, rankings, {name: manifest.files for name, manifest in written.items()})

    return run


def test_the_size_of_a_block_changes_no_byte(scored: ScoredBy) -> None:
    whole = scored("personal_frequency", 10_000)
    assert scored("personal_frequency", 7).files == whole.files
    assert scored("personal_frequency", 1).files == whole.files


def test_a_networks_answers_differ_between_blocks_by_rounding_alone(scored: ScoredBy) -> None:
    """Its last bits depend on who shares a batch, whence the size is a constant: equal runs have equal bytes."""
    said = [scored("transformer", size) for size in (10_000, 7)]
    for one in said:
        assert one.rankings.select("customer_id", "seen", "rank").equals(
            said[0].rankings.select("customer_id", "seen", "rank")
        )
    whole, cut = (
        sameness.stacked(one.rankings, one.scores.select("customer_id", "p_purchase_7d", "p_purchase_28d"))
        for one in said
    )
    finding = sameness.close_scores("blocks of seven customers", whole, cut)
    assert (finding.different, finding.compared) == (0, said[0].scores.height), finding
    vectors = [np.array(one.scores["vector"].to_list()) for one in said]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-4, atol=1e-5)
