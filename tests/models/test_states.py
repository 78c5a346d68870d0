"""What a training state may see, and that every state is learned from exactly once per epoch."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mktgen.models._copying import DECAYED_56, FEATURES, HALF_LIVES, candidates
from mktgen.models._events import EventLog, day_number, encode_events
from mktgen.models._item_facts import PLAN_FACTS, CutFacts
from mktgen.models._states import States, batches, training_states, windows
from mktgen.models._vocabulary import OTHER, Vocabulary
from tests.support.shop import item_features, make_shop

CUT = date(2017, 6, 4)
SHOP = make_shop(customers=20, items=40, days=170)
VOCABULARY = Vocabulary.learn(item_features(SHOP.before(CUT), CUT), 10)


def scene(cuts: int = 4) -> tuple[EventLog, States]:
    log = encode_events(SHOP.events, VOCABULARY, CUT)
    examples = SHOP.training_set(CUT, cuts).examples
    rows = (log.find(examples["customer_id"].to_list()), examples["cut"].to_physical().to_numpy().astype(np.int64))
    return log, training_states(log, rows, day_number(CUT))


def test_events_from_the_cut_on_are_not_even_encoded() -> None:
    log = encode_events(SHOP.events, VOCABULARY, CUT)
    assert log.day.size == SHOP.before(CUT).height < SHOP.events.height
    assert log.day.max() < day_number(CUT)


def test_rare_items_share_a_token_but_keep_their_code() -> None:
    log = encode_events(SHOP.events, VOCABULARY, CUT)
    counts = SHOP.before(CUT).group_by("item_id").len().sort("item_id")
    assert log.item_ids.to_list() == counts["item_id"].to_list()
    assert ((counts["len"].to_numpy() < 10) == (log.code_item == OTHER)).all()
    assert (log.code_category > OTHER).all()


def test_a_state_sees_events_before_its_cut_and_targets_the_week_after() -> None:
    log, states = scene()
    for i in range(states.customer.size):
        low, high = log.first[states.customer[i]], log.first[states.customer[i] + 1]
        day, cut = log.day[low:high], states.cut[i]
        assert states.end[i] - low == np.count_nonzero(day < cut)
        assert states.until[i] - states.end[i] == np.count_nonzero((day >= cut) & (day < cut + 7))
    assert states.cut.max() == day_number(CUT) - 7
    assert len({(c, d) for c, d in zip(states.customer, states.cut, strict=True)}) == states.customer.size


def test_a_week_that_ends_after_the_cut_is_no_target() -> None:
    log = encode_events(SHOP.events, VOCABULARY, CUT)
    late = (np.array([0], dtype=np.int64), np.array([day_number(CUT) - 3], dtype=np.int64))
    states = training_states(log, late, day_number(CUT))
    unfinished = states.example >= 0
    assert (states.until[unfinished] == states.end[unfinished]).all()


@pytest.mark.parametrize("events", [16, 40, 400])
def test_windows_cover_every_state_once(events: int) -> None:
    log, states = scene()
    found = windows(log, states, events)
    covered = np.concatenate([np.arange(a, b) for a, b in zip(found.first, found.last, strict=True)])
    assert covered.tolist() == list(range(states.customer.size))
    for w in range(found.count):
        inside = slice(found.first[w], found.last[w])
        owner = states.customer[inside]
        assert (owner == owner[0]).all()
        assert found.stop[w] - found.start[w] <= events
        assert (states.end[inside] <= found.stop[w]).all()
        seen = states.end[inside] - found.start[w]
        available = states.end[inside] - log.first[owner]
        assert (seen >= np.minimum(available, events // 2)).all()


@given(size=st.integers(1, 9), seed=st.integers(0, 2**32), epoch=st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_data_order_is_a_function_of_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    log, states = scene(2)
    found = windows(log, states, 40)
    order = batches(found, size, seed, epoch)
    assert sorted(np.concatenate(order).tolist()) == list(range(found.count))
    assert all(1 <= batch.size <= size for batch in order)
    again = batches(found, size, seed, epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in order]
    assert len(order) == len(batches(found, size, seed, epoch + 1))


def ones(log: EventLog) -> CutFacts:
    """Of one moment."""
    shape = (1, log.item_ids.len())
    return CutFacts(np.ones(shape, dtype=np.float32), np.ones((*shape, PLAN_FACTS), dtype=np.float32))


def test_copy_features_are_the_counts_of_the_past() -> None:
    log, states = scene(1)
    moment = np.zeros(states.cut.size, dtype=np.int64)
    found = candidates(log, states.customer, states.cut, states.end, 10_000, ones(log), moment)
    assert found.features.shape == (found.state.size, FEATURES)
    assert np.isfinite(found.features).all()
    events = SHOP.before(CUT).with_columns(pl.col("business_date").to_physical().alias("day"))
    for i in range(0, found.state.size, 37):
        state = found.state[i]
        own = events.filter(
            (pl.col("customer_id") == log.customers[states.customer[state]])
            & (pl.col("item_id") == log.item_ids[int(found.code[i])])
            & (pl.col("day") < int(states.cut[state]))
        )
        age = int(states.cut[state]) - own["day"].to_numpy()
        assert found.features[i, DECAYED_56] == pytest.approx(np.log((0.5 ** (age / 56.0)).sum() + 0.02), abs=1e-5)
        assert found.features[i, len(HALF_LIVES)] == pytest.approx(np.log(own.height), abs=1e-6)
        assert found.features[i, len(HALF_LIVES) + 1] == pytest.approx(np.log(age.min()), abs=1e-6)


@given(weeks=st.integers(1, 8), shift=st.integers(1, 500))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_copy_features_ignore_what_comes_later(weeks: int, shift: int) -> None:
    """Events on or after a state's cut are replaced by other items at other prices: nothing it knows may change."""
    day = CUT - timedelta(weeks=weeks)
    changed = SHOP.before(CUT).with_columns(
        pl.when(pl.col("business_date") >= day)
        .then(pl.col("net_minor") + shift)
        .otherwise(pl.col("net_minor"))
        .alias("net_minor"),
        (pl.col("on_promotion") ^ (pl.col("business_date") >= day)).alias("on_promotion"),
    )
    later = pl.col("business_date") >= day
    changed = changed.filter(~(later & pl.int_range(pl.len()).mod(2).eq(0)))

    def known(frame: pl.DataFrame) -> dict[tuple[int, int], list[list[float]]]:
        log = encode_events(frame, VOCABULARY, CUT, sorted(SHOP.events["customer_id"].unique().to_list()))
        owner = np.arange(len(log.customers), dtype=np.int64)
        cut = np.full(owner.size, day_number(day), dtype=np.int64)
        found = candidates(log, owner, cut, log.count_before(owner, cut), 512, ones(log), np.zeros_like(owner))
        ids = log.item_ids.gather(found.code).to_list()
        return {(int(s), i): f.tolist() for s, i, f in zip(found.state, ids, found.features, strict=True)}

    assert known(changed) == known(SHOP.before(CUT))
