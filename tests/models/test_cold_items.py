"""Items that are too new for a token: ranked for everybody, from the catalogue alone if need be, and sensibly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen import contracts, models
from mktgen.models._neural import NeuralModel
from mktgen.models.base import History
from mktgen.settings import LstmSettings, ModelSettings, TransformerSettings
from tests.support.shop import SORT, START, Shop
from tests.support.training import session

CUT = date(2017, 5, 7)
SMALL = {"width": 16, "events": 32, "epochs": 3, "batch_customers": 8, "min_item_lines": 5, "learning_rate": 1e-2}
SETTINGS = ModelSettings(
    threads=1, transformer=TransformerSettings.model_validate(SMALL), lstm=LstmSettings.model_validate(SMALL)
)
CATEGORIES = ("BREAD", "CHEESE", "PLANTS", "TOYS")
NOBODYS = "ZITHERS"
DEEP = 1000


def category_shop(customers: int = 96, items: int = 400, days: int = 130) -> Shop:
    """Each customer buys of one category alone, up to three items on every sixth day, mostly new to the customer."""
    rng = np.random.default_rng(11)
    rows = []
    for customer in range(customers):
        kind = customer % len(CATEGORIES)
        for day in np.flatnonzero(rng.random(days) < 0.15):
            local = START + timedelta(days=int(day))
            moment = datetime.combine(local, time(14), UTC)
            for item in sorted(set((kind + len(CATEGORIES) * rng.integers(0, items // 4, 3)).tolist())):
                order = f"o{customer:03d}{day:03d}"
                rows.append((f"c{customer:04d}", moment, local, order, f"i{item:04d}", CATEGORIES[kind], 200, False))
    return Shop(pl.DataFrame(rows, schema=contracts.SEQUENCES.columns, orient="row").sort(SORT))


SHOP = category_shop()
DATA = SHOP.training_set(CUT)
CUSTOMERS = SHOP.active(CUT)


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def model(request: pytest.FixtureRequest) -> NeuralModel:
    learned = models.model_class(request.param)()
    assert isinstance(learned, NeuralModel)
    learned.fit(DATA, SETTINGS, session())
    return learned


def fresh(category: str) -> str:
    return f"fresh {category}"


@dataclass(frozen=True)
class New:
    """Items with so many lines, one of each category and one of a category that nobody buys."""

    lines: int

    @property
    def history(self) -> History:
        history = SHOP.history(CUT)
        names = [*CATEGORIES, NOBODYS]
        if self.lines:
            counts = {name: float(self.lines) for name in ("lines_28d", "customers_28d", "lines_all")}
            one = history.items.head(1).with_columns(**{name: pl.lit(count) for name, count in counts.items()})
            rows = [one.with_columns(item_id=pl.lit(fresh(name)), category=pl.lit(name)) for name in names]
            return replace(history, items=pl.concat([history.items, *rows]))
        one = history.item_attributes.head(1)
        missing = {name: pl.lit(None, pl.String) for name in contracts.ITEMS.nullable}
        rows = [
            one.with_columns(item_id=pl.lit(fresh(name)), category=pl.lit(name), department=pl.lit("new"), **missing)
            for name in names
        ]
        return replace(history, item_attributes=pl.concat([history.item_attributes, *rows]))


@pytest.mark.parametrize("lines", [0, 1, 2, 4])
def test_a_new_item_is_ranked_for_everybody_and_best_where_its_category_is_bought(
    model: NeuralModel, lines: int
) -> None:
    asked = [*CUSTOMERS, "nobody"]
    ranked = model.rank(New(lines).history, asked, DEEP)
    own = {str(c): str(k) for c, k in SHOP.events.select("customer_id", "category").unique().iter_rows()}
    new = ranked.filter(pl.col("item_id").str.starts_with("fresh"))
    assert new.height == len(asked) * (len(CATEGORIES) + 1)
    assert new["score"].is_finite().all()
    assert not new["seen"].any()
    above = []
    for customer in CUSTOMERS:
        scores = dict(new.filter(customer_id=customer).select("item_id", "score").iter_rows())
        above.append(scores[fresh(own[customer])] > scores[fresh(NOBODYS)])
    assert all(above), f"{sum(above)} of {len(above)}"


def test_rank_keeps_its_order_with_new_items_and_a_short_ranking_begins_the_long_one(model: NeuralModel) -> None:
    history = New(0).history
    more = pl.concat(
        history.item_attributes.head(1).with_columns(item_id=pl.lit(f"like {n}")) for n in range(30)
    )  # alike in all: ties
    history = replace(history, item_attributes=pl.concat([history.item_attributes, more]))
    long = model.rank(history, CUSTOMERS, DEEP)
    assert set(long["item_id"]) >= set(more["item_id"])
    keys = ["customer_id", "seen", "score", "item_id"]
    assert_frame_equal(long, long.sort(keys, descending=[False, True, True, False]))
    assert_frame_equal(model.rank(history, CUSTOMERS, 7), long.filter(pl.col("rank") <= 7))
    turned = replace(history, items=history.items[::-1], item_attributes=history.item_attributes[::-1])
    assert_frame_equal(model.rank(turned, CUSTOMERS, DEEP), long, check_exact=True)


def test_what_is_no_merchandise_is_not_ranked_for_being_listed(model: NeuralModel) -> None:
    history = New(0).history
    fuel = history.item_attributes.head(1).with_columns(item_id=pl.lit("fuel"), merchandise=pl.lit(False))
    history = replace(history, item_attributes=pl.concat([history.item_attributes, fuel]))
    assert "fuel" not in model.rank(history, CUSTOMERS, DEEP)["item_id"]


def test_a_new_item_of_which_nothing_is_known_has_a_score(model: NeuralModel) -> None:
    """Neither attributes nor a category, in the table of items or in the catalogue."""
    history = SHOP.history(CUT)
    sold = history.items.head(1).with_columns(item_id=pl.lit("blank sold"), category=pl.lit(None, pl.String))
    told = history.item_attributes.head(1).with_columns(
        item_id=pl.lit("blank told"), merchandise=pl.lit(True),
        **{name: pl.lit(None, pl.String) for name in contracts.ITEMS.columns if name not in ("item_id", "merchandise")},
    )  # fmt: skip
    history = replace(
        history,
        items=pl.concat([history.items, sold]),
        item_attributes=pl.concat([history.item_attributes, told]),
    )
    found = model.rank(history, CUSTOMERS, DEEP).filter(pl.col("item_id").is_in(["blank sold", "blank told"]))
    assert found.height == 2 * len(CUSTOMERS)
    assert found["score"].is_finite().all()


def test_a_bigger_catalogue_changes_no_score_of_the_others(model: NeuralModel) -> None:
    """Beyond the last digits of 32 bits, which depend on an item's place."""
    small, large = (model.rank(history, CUSTOMERS, DEEP) for history in (SHOP.history(CUT), New(0).history))
    both = small.join(large, on=["customer_id", "item_id"])
    assert both.height == small.height
    np.testing.assert_allclose(both["score"], both["score_right"], rtol=1e-5, atol=1e-4)
