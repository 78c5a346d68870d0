"""The model as a thing to keep and to draw from."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen.errors import CorruptArtefact
from mktgen.response.basis import UnusableCovariates
from mktgen.response.fitting import fit_response
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, make_trials

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=2)
WORLD = make_trials(800, 21)


@pytest.fixture(scope="module")
def model() -> ResponseModel:
    rng = np.random.default_rng(1)
    vectors = pl.Series("vector", rng.normal(size=(800, 6)).tolist(), dtype=pl.List(pl.Float32))
    return fit_response(WORLD.trials, WORLD.covariates.with_columns(vectors), SETTINGS, PARTITION, 7)[0]


@pytest.fixture(scope="module")
def features() -> pl.DataFrame:
    rng = np.random.default_rng(2)
    ids = [f"n{number:04d}" for number in rng.permutation(300)]
    vectors = pl.Series("vector", rng.normal(size=(300, 6)).tolist(), dtype=pl.List(pl.Float32))
    return pl.DataFrame({"customer_id": ids, **{f"x{k}": rng.normal(size=300) for k in range(4)}}).with_columns(vectors)


def test_bytes_bring_the_model_back_to_the_last_bit(model: ResponseModel, features: pl.DataFrame) -> None:
    again = ResponseModel.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    assert_frame_equal(again.effects(features), model.effects(features), check_exact=True)
    assert_frame_equal(again.conversion_effects(features), model.conversion_effects(features), check_exact=True)
    assert_frame_equal(again.base_conversion(features), model.base_conversion(features), check_exact=True)
    assert (again.draws(features, 3, 1) == model.draws(features, 3, 1)).all()


@given(cut=st.integers(0, 2000))
@settings(max_examples=20, deadline=None)
def test_bytes_that_are_no_model_are_refused(model: ResponseModel, cut: int) -> None:
    content = model.to_bytes()
    with pytest.raises(CorruptArtefact, match="fit it again"):
        ResponseModel.from_bytes(content[:cut])


def test_another_format_is_refused(model: ResponseModel) -> None:
    with np.load(io.BytesIO(model.to_bytes())) as stored:
        arrays = dict(stored.items())
    arrays["header"] = np.frombuffer(arrays["header"].tobytes().replace(b"response/1", b"response/9"), dtype=np.uint8)
    target = io.BytesIO()
    np.savez(target, **arrays)
    with pytest.raises(CorruptArtefact, match="format response/9"):
        ResponseModel.from_bytes(target.getvalue())


@pytest.mark.parametrize("outcome", ["reward", "conversion"])
def test_draws_have_the_mean_and_spread_of_the_effects(
    model: ResponseModel, features: pl.DataFrame, outcome: str
) -> None:
    drawn = model.draws(features, 4000, 1, outcome=outcome)  # type: ignore[arg-type]
    assert drawn.shape == (4000, 300, 2)
    table = model.effects(features) if outcome == "reward" else model.conversion_effects(features)
    sd = table["sd"].to_numpy().reshape(300, 2)
    mean = table[:, 2].to_numpy().reshape(300, 2)
    place = features["customer_id"].arg_sort().to_numpy()
    assert np.abs((drawn.mean(axis=0)[place] - mean) / sd).max() < 5 / np.sqrt(4000)
    assert drawn.std(axis=0)[place] == pytest.approx(sd, rel=0.08)


def test_draws_of_two_customers_go_together_as_their_covariates_do(
    model: ResponseModel, features: pl.DataFrame
) -> None:
    twins = pl.concat([features.head(1), features.head(1).with_columns(customer_id=pl.lit("twin"))])
    drawn = model.draws(twins, 50, 3)
    assert drawn[:, 0] == pytest.approx(drawn[:, 1])


def test_a_draw_depends_on_seed_and_customer_and_not_on_the_company(
    model: ResponseModel, features: pl.DataFrame
) -> None:
    everyone = model.draws(features, 5, 9)
    alone = model.draws(features[[17]], 5, 9)
    assert everyone[:, [17]] == pytest.approx(alone, rel=1e-9)
    mixed = np.random.default_rng(1).permutation(300)
    assert (model.draws(features[mixed.tolist()], 5, 9) == everyone[:, mixed]).all()
    assert (model.draws(features, 5, 10) != everyone).all()


def test_blocks_are_the_whole(model: ResponseModel, features: pl.DataFrame) -> None:
    blocks = list(model.draw_blocks(features, 4, 2, block=70))
    assert [len(ids) for ids, _ in blocks] == [70, 70, 70, 70, 20]
    place = features["customer_id"].arg_sort().to_numpy()
    together = np.concatenate([values for _, values in blocks], axis=1)
    assert together == pytest.approx(model.draws(features, 4, 2)[:, place])


def test_an_untried_action_is_drawn_with_its_own_doubt(model: ResponseModel, features: pl.DataFrame) -> None:
    drawn = model.draws(features, 3000, 4, ["coupon", "new", "newer"])
    table = model.effects(features, ["new"])
    place = features["customer_id"].arg_sort().to_numpy()
    assert drawn[:, place, 1].std(axis=0) == pytest.approx(table["sd"].to_numpy(), rel=0.1)
    assert np.abs(drawn[:, :, 1] - drawn[:, :, 2]).min() > 0  # two untried actions are not the same one


def test_nobody_to_score_is_an_empty_frame(model: ResponseModel, features: pl.DataFrame) -> None:
    assert model.effects(features.clear()).height == 0
    assert model.effects(features.clear()).schema == model.effects(features).schema
    assert model.draws(features.clear(), 2, 1).shape == (2, 0, 2)
    assert model.base_conversion(features.clear()).height == 0


def test_wrong_features_are_refused(model: ResponseModel, features: pl.DataFrame) -> None:
    with pytest.raises(UnusableCovariates, match="300 customers have more than one row"):
        model.effects(pl.concat([features, features]))
    with pytest.raises(UnusableCovariates, match=r"\['x2'\] are missing"):
        model.effects(features.drop("x2"))
    with pytest.raises(UnusableCovariates, match="lack customer_id"):
        model.effects(features.drop("customer_id"))
