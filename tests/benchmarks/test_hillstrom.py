"""The benchmark's own figures against ones counted by hand, on a made-up file of the same shape."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.hillstrom import (
    ARMS,
    DAY,
    covariates,
    place_in_fold,
    policies,
    published_protocol,
    read,
    trials,
    values,
)
from mktgen.contracts import TRIALS
from mktgen.response.fitting import fit_response
from mktgen.settings import ResponseSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = 1500
    segment = rng.choice(list(ARMS), rows)
    womens = rng.integers(0, 2, rows)
    visit = rng.random(rows) < 0.1 + 0.1 * (segment == "Mens E-Mail") + 0.2 * womens * (segment == "Womens E-Mail")
    frame = pl.DataFrame(
        {
            "recency": rng.integers(1, 13, rows),
            "history_segment": ["1) $0 - $100"] * rows,
            "history": rng.gamma(2, 100, rows).round(2),
            "mens": rng.integers(0, 2, rows),
            "womens": womens,
            "zip_code": rng.choice(["Rural", "Surburban", "Urban"], rows),
            "newbie": rng.integers(0, 2, rows),
            "channel": rng.choice(["Phone", "Web", "Multichannel"], rows),
            "segment": segment,
            "visit": visit.astype(int),
            "conversion": (visit & (rng.random(rows) < 0.5)).astype(int),
            "spend": np.where(visit, rng.gamma(2, 30, rows), 0.0).round(2),
        }
    )
    path = tmp_path_factory.mktemp("hillstrom") / "hillstrom.csv"
    frame.write_csv(path)
    return read(path)


def test_values_of_policies_by_hand(data: pl.DataFrame) -> None:
    head = data.head(400)
    reward = 100 * head["spend"].to_numpy()
    given = trials(head, reward, head["conversion"].to_numpy() == 1, dict.fromkeys(ARMS.values(), 1 / 3))
    TRIALS.check(given)
    settings = ResponseSettings(hinged_covariates=0, crossed_covariates=0)
    _, held = fit_response(given, covariates(head), settings, DAY.replace(day=21), 1)
    everyone = np.zeros(400, dtype=np.int64)  # mens
    weighted, robust = values(held, reward, everyone)
    mine = (head["action"] == "mens").to_numpy()
    assert weighted == pytest.approx(np.where(mine, 3 * reward, 0.0))
    q = held.reward.q[:, 0]
    assert robust == pytest.approx(np.where(mine, q + 3 * (reward - q), q))
    nobody, _ = values(held, reward, np.full(400, -1))
    assert nobody.sum() == pytest.approx(3 * reward[(head["action"] == "no_contact").to_numpy()].sum())


def test_places_are_counted_within_folds() -> None:
    found = place_in_fold(np.array([1.0, 5.0, 30.0, 20.0]), np.array([0, 0, 1, 1]))
    assert found.tolist() == [0.5, 1.0, 1.0, 0.5]


def test_categories_don_t_depend_on_the_order_of_rows(data: pl.DataFrame) -> None:
    mixed = data.sample(fraction=1.0, shuffle=True, seed=1)
    assert covariates(mixed).columns == covariates(data).columns
    assert covariates(mixed).sort("customer_id").equals(covariates(data))


def test_the_whole_of_it_runs_on_a_small_file(data: pl.DataFrame) -> None:
    found = policies(data, 10.0, folds=2, resamples=5, seed=1)
    assert sum(found["learned_actions"].values()) == data.height
    assert found["learned_less_best_fixed"]["dr"].low <= found["learned_less_best_fixed"]["dr"].high
    assert set(found["ranking"]) == {"mens", "womens"}
    split = published_protocol(data, "womens", 42, 5)
    assert set(split) == {"ours", "class_transformation", "everyone"}
