"""Bad and odd input: every kind that is found gives a defined score or refuses by name. See also test_contract.py, which
has what is dated on or after the cut."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen import contracts, models
from mktgen.errors import PermanentError
from mktgen.models._neural import NeuralModel
from mktgen.models.base import History, Model, TrainingSet
from mktgen.settings import LstmSettings, ModelSettings, TransformerSettings
from tests.support.shop import SORT, make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
K = 5
SMALL = {"width": 16, "events": 32, "epochs": 1, "batch_customers": 16, "min_item_lines": 3}
SETTINGS = ModelSettings(
    threads=1,
    transformer=TransformerSettings.model_validate(SMALL),
    lstm=LstmSettings.model_validate(SMALL),
)
SHOP = make_shop(customers=40, items=50)
DATA = SHOP.training_set(CUT)
HISTORY = SHOP.history(CUT)
CUSTOMERS = SHOP.active(CUT)
ONE = CUSTOMERS[0]
LONG = 100_000  # events of one customer
SECONDS = 10.0  # of CPU, for one customer of LONG events among 40; all kinds take less than one
EXTRA_MIB = 300.0  # beside what the process holds; a matrix of LONG x LONG would be 37,000


@pytest.fixture(scope="module", params=models.kinds())
def model(request: pytest.FixtureRequest) -> Model:
    trained = models.model_class(request.param)()
    trained.fit(DATA, SETTINGS, session())
    return trained


@dataclass(frozen=True)
class Answers:
    """What a kind says of some customers; empty frames for tasks that it lacks."""

    ranked: pl.DataFrame | None
    amounts: list[pl.DataFrame]


def answers(model: Model, history: History, customers: list[str], k: int = K) -> Answers:
    """Every answer of the model, checked for what holds whatever was put in."""
    asked = sorted(set(customers))
    ranked, amounts = None, []
    if "ranking" in model.tasks:
        ranked = model.rank(history, customers, k)
        assert ranked["score"].is_finite().all()
        assert ranked.null_count().sum_horizontal().item() == 0
        assert not ranked.select("customer_id", "item_id").is_duplicated().any()
        keys = ["customer_id", "seen", "score", "item_id"]
        assert_frame_equal(ranked, ranked.sort(keys, descending=[False, True, True, False]))
        assert set(ranked["customer_id"]) <= set(asked)
    if "customer" in model.tasks:
        chances = model.probabilities(history, customers)
        assert chances.select(pl.col("p_purchase_7d", "p_purchase_28d").is_between(0, 1).all()).row(0) == (True, True)
        assert (chances["p_purchase_28d"] >= chances["p_purchase_7d"]).all()
        amounts.append(chances)
    if "spend" in model.tasks:
        spend = model.spend(history, customers)
        assert spend["spend_28d_minor"].is_finite().all()
        amounts.append(spend)
    for frame in amounts:
        assert frame["customer_id"].to_list() == asked
    return Answers(ranked, amounts)


def same(mine: Answers, theirs: Answers) -> None:
    for one, other in zip(mine.amounts, theirs.amounts, strict=True):
        assert_frame_equal(one, other)
    assert (mine.ranked is None) == (theirs.ranked is None)
    if mine.ranked is not None and theirs.ranked is not None:
        assert_frame_equal(mine.ranked, theirs.ranked)


def everyone_is_ranked(found: Answers, customers: list[str]) -> None:
    if found.ranked is not None:
        assert found.ranked["customer_id"].unique().sort().to_list() == customers


def priced(price: float | None, dtype: type[pl.DataType]) -> History:
    """A third of the events at that price."""
    changed = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit(price, dtype)).otherwise(pl.col("net_minor"))
    return replace(HISTORY, events=HISTORY.events.with_columns(changed.cast(dtype).alias("net_minor")))


def own(customer: str) -> pl.DataFrame:
    return HISTORY.events.filter(pl.col("customer_id") == customer)


# -- few or no events -------------------------------------------------------------------------------------------------
def test_nobody_has_events(model: Model) -> None:
    """Everyone gets the same list of items that sold lately, and nothing counts as bought before."""
    found = answers(model, replace(HISTORY, events=HISTORY.events.clear()), CUSTOMERS)
    everyone_is_ranked(found, CUSTOMERS)
    if found.ranked is not None:
        assert not found.ranked["seen"].any()
        lists = found.ranked.group_by("customer_id").agg("item_id")["item_id"]
        assert lists.n_unique() == 1
        sold = HISTORY.items.filter(pl.col("customers_28d") > 0)["item_id"]
        assert set(lists[0]) <= set(sold)


def test_who_is_unknown_gets_popular_items_and_base_rates_or_is_named(model: Model) -> None:
    """Neither events nor features: rankings fall back for all kinds; chances and amounts for those that read events."""
    if "ranking" in model.tasks:
        ranked = model.rank(HISTORY, ["nobody"], K)
        assert ranked.height == K
        assert not ranked["seen"].any()
    asked: list[Callable[[History, list[str]], pl.DataFrame]] = []
    asked += [model.probabilities] if "customer" in model.tasks else []
    asked += [model.spend] if "spend" in model.tasks else []
    for ask in asked:
        if isinstance(model, NeuralModel):
            known = ask(HISTORY, ["nobody"])
            column = "spend_28d_minor" if "spend_28d_minor" in known.columns else "p_purchase_28d"
            truth = DATA.examples["spend_28d_minor" if column == "spend_28d_minor" else "purchased_28d"].mean()
            assert known[column].item() == pytest.approx(truth)
        else:
            with pytest.raises(PermanentError, match=r"no features on 2017-06-04, e\.g\. \['nobody'\]"):
                ask(HISTORY, ["nobody"])


def test_one_event(model: Model) -> None:
    event = own(ONE).head(1)
    found = answers(model, replace(HISTORY, events=event), [ONE])
    if found.ranked is not None:
        assert found.ranked.filter("seen")["item_id"].to_list() in ([], event["item_id"].to_list())
        assert found.ranked.height >= K


def test_only_items_that_the_model_never_met(model: Model) -> None:
    """They may be proposed again, from the customer's own purchases alone."""
    events = own(ONE).with_columns(("new " + pl.col("item_id")).alias("item_id"), pl.lit("NEW").alias("category"))
    found = answers(model, replace(HISTORY, events=events), [ONE])
    everyone_is_ranked(found, [ONE])
    if found.ranked is not None:
        assert found.ranked.filter("seen")["item_id"].str.starts_with("new ").all()
        assert not found.ranked.filter(~pl.col("seen"))["item_id"].str.starts_with("new ").any()


def test_events_without_a_category_are_no_obstacle(model: Model) -> None:
    blank = HISTORY.events.with_columns(pl.lit(None, pl.String).alias("category"))
    everyone_is_ranked(answers(model, replace(HISTORY, events=blank), CUSTOMERS), CUSTOMERS)


# -- many events ------------------------------------------------------------------------------------------------------
def long_events(customer: str, count: int) -> pl.DataFrame:
    """`count` events of ten-item baskets, every 70 minutes, the last one on the day before the cut."""
    basket = np.arange(count) // 10
    last = datetime(2017, 6, 3, 12, tzinfo=UTC)
    times = [last - timedelta(minutes=70 * int(basket[-1] - number)) for number in basket]
    item = np.arange(count) % 50
    columns = {
        "customer_id": [customer] * count,
        "event_time": times,
        "business_date": [moment.date() for moment in times],
        "order_id": [f"L{number:06d}" for number in basket],
        "item_id": [f"i{number:04d}" for number in item],
        "category": [f"CAT {number % 7}" for number in item],
        "net_minor": 100 + 7 * item,
        "on_promotion": [False] * count,
    }
    frame = pl.DataFrame(columns).select(pl.col(n).cast(dtype) for n, dtype in contracts.SEQUENCES.columns.items())
    return contracts.SEQUENCES.check(frame)


def with_long(events: pl.DataFrame) -> pl.DataFrame:
    others = events.filter(pl.col("customer_id") != ONE)
    return pl.concat([long_events(ONE, LONG), others]).sort(SORT)


def memory_mib(field: str) -> float:
    """VmHWM (peak) or VmRSS of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def bounded(work: Callable[[], None]) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started = memory_mib("VmRSS"), time.process_time()
    work()
    assert time.process_time() - started < SECONDS
    assert memory_mib("VmHWM") - before < EXTRA_MIB


def test_a_hundred_thousand_events_are_scored_in_bounded_time_and_memory(model: Model) -> None:
    history = replace(HISTORY, events=with_long(HISTORY.events))
    bounded(lambda: everyone_is_ranked(answers(model, history, CUSTOMERS), CUSTOMERS))


def test_a_hundred_thousand_events_are_learned_from_in_bounded_time_and_memory(model: Model) -> None:
    data = replace(DATA, events=with_long(DATA.events))
    fresh = type(model)()

    def learn() -> None:
        fresh.fit(data, SETTINGS, session())

    bounded(learn)
    everyone_is_ranked(answers(fresh, HISTORY, CUSTOMERS), CUSTOMERS)


# -- the catalogue ----------------------------------------------------------------------------------------------------
def grown() -> History:
    """A hundred items more than in training, one of them the most popular of all, in a category of its own."""
    template = HISTORY.items.sort("lines_28d", descending=True).head(1)
    new = pl.concat(
        template.with_columns(
            pl.lit(f"z{number:03d}").alias("item_id"),
            pl.lit("NEW").alias("category"),
            (pl.col("lines_28d", "customers_28d", "lines_all") * (20.0 if number == 0 else 1.0)),
        )
        for number in range(100)
    )
    bought = own(ONE).tail(1).with_columns(pl.lit("z000").alias("item_id"), pl.lit("NEW").alias("category"))
    events = pl.concat([HISTORY.events, bought]).sort(SORT)
    return replace(HISTORY, events=events, items=pl.concat([HISTORY.items, new]).sort("item_id"))


def test_a_catalogue_that_grew_since_training(model: Model) -> None:
    """New items are ranked by all kinds that need not have learned of them."""
    found = answers(model, grown(), CUSTOMERS, k=200)
    everyone_is_ranked(found, CUSTOMERS)
    if found.ranked is None:
        return
    new = found.ranked.filter(item_id="z000")
    if model.kind == "matrix_factorisation":  # what has no learned vector can't be ranked by it
        assert new.is_empty()
        return
    assert new["customer_id"].to_list() == CUSTOMERS
    assert new.filter("seen")["customer_id"].to_list() == [ONE]


def test_a_catalogue_without_items(model: Model) -> None:
    """What the customers bought is ranked; with nothing bought either, nothing but what was learned is left."""
    nothing = replace(HISTORY, items=HISTORY.items.clear())
    everyone_is_ranked(answers(model, nothing, CUSTOMERS), CUSTOMERS)
    answers(model, replace(nothing, events=HISTORY.events.clear()), CUSTOMERS)


def test_items_of_no_category_are_no_obstacle(model: Model) -> None:
    """Neither in the table of items nor in the events."""
    items, events = (
        frame.with_columns(pl.when(pl.col("item_id") != "i0003").then("category").alias("category"))
        for frame in (HISTORY.items, HISTORY.events)
    )
    everyone_is_ranked(answers(model, replace(HISTORY, items=items, events=events), CUSTOMERS), CUSTOMERS)


def test_more_items_asked_for_than_there_are(model: Model) -> None:
    found = answers(model, HISTORY, CUSTOMERS, k=10_000)
    if found.ranked is not None:
        assert set(found.ranked["item_id"]) <= set(HISTORY.items["item_id"]) | set(HISTORY.events["item_id"])
        assert found.ranked.group_by("customer_id").len()["len"].min() > 2 * K  # type: ignore[operator]


def test_no_items_asked_for(model: Model) -> None:
    found = answers(model, HISTORY, CUSTOMERS, k=0)
    assert found.ranked is None or found.ranked.is_empty()


# -- who is asked for -------------------------------------------------------------------------------------------------
def test_a_customer_asked_for_twice_is_answered_once(model: Model) -> None:
    same(answers(model, HISTORY, [*CUSTOMERS, *CUSTOMERS[::-1]]), answers(model, HISTORY, CUSTOMERS))


def test_nobody_asked_for(model: Model) -> None:
    found = answers(model, HISTORY, [])
    assert found.ranked is None or found.ranked.is_empty()


def test_a_customer_without_features(model: Model) -> None:
    """Kinds that live on features name the customer; those that read events score it."""
    history = replace(HISTORY, features=HISTORY.features.filter(pl.col("customer_id") != ONE))
    if "ranking" in model.tasks:
        assert ONE in model.rank(history, CUSTOMERS, K)["customer_id"].to_list()
    if isinstance(model, NeuralModel):
        answers(model, history, CUSTOMERS)
        return
    for task, ask in (("customer", model.probabilities), ("spend", model.spend)):
        if task in model.tasks:
            with pytest.raises(
                PermanentError, match=rf"1 customers have no features on 2017-06-04, e\.g\. \['{ONE}'\]"
            ):
                ask(history, CUSTOMERS)


# -- numbers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("price", [-1_000_000, 2**62])
def test_negative_and_huge_prices(model: Model, price: int) -> None:
    everyone_is_ranked(answers(model, priced(price, pl.Int64), CUSTOMERS), CUSTOMERS)


def test_facts_of_a_customer_may_be_missing_and_then_count_as_nothing_seen(model: Model) -> None:
    def with_facts(value: float | None) -> Answers:
        changed = pl.lit(value, pl.Float64).alias("net_minor_84d"), pl.lit(value, pl.Float64).alias("orders_84d")
        return answers(model, replace(HISTORY, features=HISTORY.features.with_columns(changed)), CUSTOMERS)

    zero = with_facts(0.0)
    same(with_facts(float("nan")), zero)
    same(with_facts(None), zero)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf"), None])
def test_prices_that_are_no_numbers_are_refused_by_name(price: float | None) -> None:
    """Before any model is asked: no kind can be handed such a History."""
    count = (HISTORY.events.height + 2) // 3
    first = HISTORY.events.row(0, named=True)
    message = f"events as of 2017-06-04: net_minor is not a finite number in {count} of .*{first['customer_id']}.*mend"
    with pytest.raises(PermanentError, match=message):
        priced(price, pl.Float64)
    with pytest.raises(PermanentError, match="net_minor is not a finite number"):
        TrainingSet(CUT, with_price(DATA.events, price), DATA.examples, DATA.items)
    if price is None:
        with pytest.raises(PermanentError, match="net_minor is not a finite number"):
            priced(None, pl.Int64)


def with_price(events: pl.DataFrame, price: float | None) -> pl.DataFrame:
    return events.with_columns(pl.lit(price, pl.Float64).alias("net_minor"))


# -- learning -----------------------------------------------------------------------------------------------------
def test_nothing_to_learn_from_is_said_or_there_is_nothing_to_learn(model: Model) -> None:
    """A kind that learns refuses; one that counts has counted nothing, and still ranks what is popular now."""
    nothing = replace(DATA, events=DATA.events.clear(), examples=DATA.examples.clear())
    fresh = type(model)()
    said = refusal(lambda: fresh.fit(nothing, SETTINGS, session()))
    if said is None:
        answers(fresh, HISTORY, CUSTOMERS)
    else:
        assert not model.untrained
        assert "train on a later day" in said or "widen the training period" in said


def test_no_items_to_learn_of_is_said_or_they_are_not_needed(model: Model) -> None:
    fresh = type(model)()
    said = refusal(lambda: fresh.fit(replace(DATA, items=DATA.items.clear()), SETTINGS, session()))
    if isinstance(model, NeuralModel):
        assert said is not None
        assert said.startswith(f"items as of 2017-06-04: the table has no rows, and {model.kind} learns")
        return
    assert said is None
    everyone_is_ranked(answers(fresh, HISTORY, CUSTOMERS), CUSTOMERS)


def test_the_order_of_training_rows_changes_no_byte(model: Model, tmp_path: Path) -> None:
    tables = {f.name: getattr(DATA, f.name) for f in fields(DATA)}
    turned = {
        name: frame.sample(fraction=1.0, shuffle=True, seed=5)
        for name, frame in tables.items()
        if isinstance(frame, pl.DataFrame)
    }
    assert not turned["events"].equals(DATA.events)
    shuffled = type(model)()
    shuffled.fit(replace(DATA, **turned), SETTINGS, session())  # type: ignore[arg-type]
    stored = []
    for name, learned in (("as given", model), ("shuffled", shuffled)):
        place = tmp_path / name
        place.mkdir()
        learned.save(place)
        stored.append({path.name: path.read_bytes() for path in place.iterdir()})
    assert stored[0] == stored[1]


def refusal(work: Callable[[], object]) -> str | None:
    try:
        work()
    except PermanentError as error:
        return str(error)
    return None
