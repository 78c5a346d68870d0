"""Ranges are valid settings, hold today's values, and come back from a settings file as they went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mktgen import config
from mktgen.errors import PermanentError
from mktgen.models import model_class
from mktgen.search.space import _RANGES, Value, current, overlay, space, with_values
from mktgen.settings import ModelSettings


def ends(range_: BaseDistribution) -> list[Value]:
    if isinstance(range_, CategoricalDistribution):
        return [value for value in range_.choices if isinstance(value, int | float)]
    assert isinstance(range_, IntDistribution | FloatDistribution)
    return [range_.low, range_.high]


@pytest.mark.parametrize("kind", sorted(_RANGES))
def test_every_end_of_a_range_is_a_valid_setting_of_its_type(kind: str) -> None:
    assert model_class(kind).kind == kind
    today = ModelSettings()
    for name, range_ in space(kind, today).items():
        for value in ends(range_):
            assert current(with_values(today, {name: value}), name) == value
        assert isinstance(range_, FloatDistribution) == isinstance(current(today, name), float)
        assert range_._contains(range_.to_internal_repr(current(today, name)))


@given(st.sampled_from(sorted(_RANGES)), st.data())
def test_values_come_back_from_a_settings_file(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    values: dict[str, Value] = {}
    for name, range_ in space(kind, ModelSettings()).items():
        low, *_, high = ends(range_)
        within = st.floats(low, high) if isinstance(range_, FloatDistribution) else st.integers(int(low), int(high))
        values[name] = data.draw(within)
    file = tmp_path_factory.mktemp("overlay") / "best.yaml"
    file.write_text(overlay(values))
    assert config.settings((str(file),)).models == with_values(ModelSettings(), values)


def test_a_range_is_widened_to_todays_value() -> None:
    today = with_values(
        ModelSettings(), {"transformer.width": 512, "transformer.learning_rate": 0.05, "transformer.epochs": 9}
    )
    ranges = space("transformer", today)
    assert ends(ranges["transformer.width"])[-1] == 512
    assert ends(ranges["transformer.learning_rate"])[-1] == 0.05
    assert ends(ranges["transformer.epochs"]) == [1, 9]
    none = space("transformer", with_values(ModelSettings(), {"transformer.weight_decay": 0.0}))
    assert none["transformer.weight_decay"]._contains(0.0)


def test_a_kind_without_settings_is_refused_by_name() -> None:
    with pytest.raises(
        PermanentError, match="popularity has no settings to search; kinds that have: gradient_boosting"
    ):
        space("popularity", ModelSettings())
