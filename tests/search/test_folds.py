"""Rolling cuts: where they lie, and that nothing at a cut knows what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.errors import MissingArtefact, PermanentError
from mktgen.search.folds import JUDGED_DAYS, Past, read_past, rolling_cuts
from mktgen.search.learning import Learning, learning
from tests.search.conftest import CUT, DAY, SearchPlatform, forget
from tests.support.shop import START


@given(st.dates(date(2016, 1, 1), date(2030, 1, 1)), st.integers(1, 12), st.integers(0, 600))
def test_cuts_are_judged_apart_and_before_the_end(end: date, count: int, history: int) -> None:
    first_day = end - timedelta(days=history)
    try:
        cuts = rolling_cuts(end, count, first_day)
    except PermanentError as error:
        assert history < 56 + JUDGED_DAYS * count
        room = int(str(error).split("at most ")[1].split(" ")[0])
        assert room == 0 or len(rolling_cuts(end, room, first_day)) == room
        return
    assert len(cuts) == count
    assert cuts[-1] + timedelta(days=JUDGED_DAYS) == end
    assert all((after - before).days == JUDGED_DAYS for before, after in pairwise(cuts))
    assert cuts[0] >= first_day + timedelta(days=56)


def test_the_frozen_evaluation_window_is_not_even_read(search_platform: SearchPlatform, lines: pl.DataFrame) -> None:
    past = read_past(search_platform(), DAY)  # its days are not stored: reading them would be an error
    assert past.end == CUT
    assert past.lines["business_date"].max() == CUT - timedelta(days=1)
    assert past.lines.height == lines.filter(pl.col("business_date") < CUT).height
    with pytest.raises(MissingArtefact, match=f"search of {DAY + timedelta(days=7)} needs order_lines of 7 days"):
        read_past(search_platform(), DAY + timedelta(days=7))


def test_inputs_name_the_days_of_each_fold(search_platform: SearchPlatform) -> None:
    past = read_past(search_platform(), DAY)
    cuts = rolling_cuts(past.end, 2, past.first_day)
    found = past.inputs(cuts, "s3://shop/order_lines")
    assert [one.context for one in found] == ["training", "evaluation"] * 2
    assert sum(one.rows for one in found[:2]) + found[3].rows == past.lines.height
    assert found[0].uri == f"s3://shop/order_lines/dt={START}..{cuts[0] - timedelta(days=1)}"
    assert len({one.sha256 for one in found}) == 4


@pytest.fixture
def place(search_platform: SearchPlatform) -> Iterator[Learning]:
    platform = search_platform()
    with learning(platform, read_past(platform, DAY), lambda line: None) as made:
        yield made
    forget(platform)


def tables(place: Learning, past: Past, cut: date, room: Path) -> dict[str, pl.DataFrame]:
    """What a model is given at a cut of some past."""
    made = Learning(place.platform, past, room, print)
    folder = made._tables(place.platform.settings, cut)
    return {str(path.relative_to(folder)): pl.read_parquet(path) for path in sorted(folder.rglob("*.parquet"))}


def test_what_comes_after_a_cut_changes_nothing_that_is_learned_from(place: Learning, tmp_path: Path) -> None:
    past = place.past
    for cut in rolling_cuts(past.end, 3, past.first_day):
        later = pl.col("business_date") >= cut
        other = past.lines.with_columns(
            pl.when(later).then(pl.col("item_id").reverse()).otherwise("item_id").alias("item_id"),
            pl.when(later).then(pl.col("net_minor") * 7).otherwise("net_minor").alias("net_minor"),
        ).filter(~later | (pl.col("customer_id") < "c0020"))
        real = tables(place, past, cut, tmp_path / f"{cut}")
        changed = tables(place, Past(past.day, other, past.manifests, past.first_day), cut, tmp_path / f"{cut}-other")
        assert not real["judgement/truth.parquet"].equals(changed["judgement/truth.parquet"])
        for name in (name for name in real if not name.startswith("judgement/")):
            assert real[name].equals(changed[name]), f"{name} at {cut} knows the future"
        assert (
            real["judgement/before.parquet"].sort(pl.all()).equals(changed["judgement/before.parquet"].sort(pl.all()))
        )
        assert real["training/events.parquet"]["business_date"].max() < cut  # type: ignore[operator]
        assert real["training/examples.parquet"]["cut"].max() <= cut - timedelta(days=28)  # type: ignore[operator]


def test_an_item_that_appears_only_after_the_cut_is_ranked_by_nobody(place: Learning) -> None:
    """Known truth: everyone buys one unheard-of item and nothing else. A model that finds it has seen the future."""
    past, cut = place.past, rolling_cuts(place.past.end, 1, place.past.first_day)[0]
    secret = past.lines.with_columns(
        pl.when(pl.col("business_date") >= cut).then(pl.lit("secret")).otherwise("item_id").alias("item_id")
    ).unique(["order_id", "item_id"], maintain_order=True)
    place.past = Past(past.day, secret, past.manifests, past.first_day)
    for kind in ("popularity", "personal_frequency", "gradient_boosting"):
        learned = place.learn(kind, place.platform.settings.models, cut, f"[{kind}]")
        assert learned.metrics["ranking.customers"] > 10
        assert learned.metrics["ranking.ndcg_at_10"] == 0.0
