"""Constraints, objectives and regret: what is refused and how it is said, and what the report tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from mktgen.errors import PermanentError
from mktgen.strategy.allocation import (
    Constraint,
    Problem,
    budget,
    campaign_budget,
    coverage,
    expected,
    lower_bound,
    mean_less_risk,
    regret,
    solve,
    stock,
)

NAMES = ("none", "mail", "sms")
COST = np.array([0, 4, 10])
GROUP = np.array([0, 0, 1, 1, 1, 0])


def problem(*constraints: Constraint, **fields: Any) -> Problem:
    value = np.array([[0.0, 3 + row, 4 + 2 * row] for row in range(6)])
    return replace(Problem(value, COST, NAMES, constraints, GROUP), **fields)


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ((coverage("vip", [1], 4),), "'vip' asks for 4 contacts, but only 3 of its 3 customers .*: 1 too many"),
        (
            (budget(11), coverage("vip", [1], 3)),
            r"'vip' \(3 contacts\) can't be met: at least 12 minor units of 'budget' are needed, which allows 11: 1 short",
        ),
        (
            (stock("mails", ["mail"], 1), campaign_budget("sms", ["sms"], 19), coverage("vip", [1], 3)),
            "'vip' .* can't be met: at least 2 contacts of 'mails' are needed, which allows 1: 1 short; or at least 20 minor "
            "units of 'sms' are needed, which allows 19: 1 short",
        ),
        (
            (budget(19), coverage("new", [0], 2), coverage("vip", [1], 3)),
            r"'new' \(2 contacts\) and 'vip' \(3 contacts\) can't be met: at least 20 minor units",
        ),
        ((budget(-1),), "'budget' has the limit -1"),
        ((budget(5), budget(6)), "share the name 'budget'"),
        ((stock("s", ["mail"], -2),), "'s' has the limit -2"),
        ((stock("s", ["fax"], 2),), r"'s' names the action 'fax'; contacts are \['mail', 'sms'\]"),
        ((stock("s", ["none"], 2),), "'s' names the action 'none'"),
        ((coverage("vip", [7], 1),), "'vip' names the group 7; groups are 0 to 1"),
    ],
    ids=str,
)
def test_constraints_that_cannot_be_met_are_named_with_what_is_missing(
    constraints: tuple[Constraint, ...], said: str
) -> None:
    with pytest.raises(PermanentError, match=said):
        solve(problem(*constraints))


def test_a_limit_that_is_just_met_is_not_refused() -> None:
    choice, result = solve(problem(budget(20), coverage("new", [0], 2), coverage("vip", [1], 3)))
    assert result.cost_minor == 20
    assert np.bincount(GROUP[choice > 0]).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": np.array([[0.0, np.inf, 1.0]] * 6)}, "row 0 can't be used"),
        ({"value": np.array([[1.0, 1.0, 1.0]] * 6)}, "no contact .action 0. must be worth 0"),
        ({"value": np.array([[np.nan, 1.0, 1.0]] * 6)}, "row 0 can't be used"),
        ({"value": np.zeros((6, 2))}, "shape"),
        ({"value": np.zeros((6, 3), int)}, "int64"),
        ({"cost": np.array([0, -4, 10])}, "costs must not be negative"),
        ({"cost": np.array([1, 4, 10])}, "must be free"),
        ({"cost": np.array([0.0, 4, 10])}, "whole minor units"),
        ({"cost": np.zeros((5, 3), int)}, "costs have the shape"),
        ({"actions": ("none", "mail", "mail")}, "share a name"),
        ({"group": np.array([0, 0, -1, 0, 0, 0])}, "negative"),
        ({"group": np.zeros(5, int)}, "group has the shape"),
        ({"key": np.arange(6)}, "uint64"),
        ({"key": np.zeros(6, np.uint64)}, "share the key 0"),
        ({"sd": np.zeros((5, 3))}, "sd has the shape"),
        ({"objective": mean_less_risk(1.0)}, "standard deviations"),
    ],
    ids=lambda given: given if isinstance(given, str) else "-".join(given),
)
def test_unusable_arrays_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        solve(problem(budget(20), **fields))


def test_a_reserve_is_kept_back_and_may_not_exceed_the_budget() -> None:
    _, result = solve(problem(budget(30, reserve_minor=20)))
    assert (result.constraints[0].limit, result.cost_minor) == (10, 8)
    with pytest.raises(PermanentError, match="30 minor units can't keep 31 in reserve"):
        budget(30, reserve_minor=31)


def test_the_report_names_what_binds_and_at_which_price() -> None:
    _, result = solve(problem(stock("one-sms", ["sms"], 1), budget(1000)))
    use = {c.name: c for c in result.constraints}
    assert result.binding == ("one-sms",)
    assert (use["one-sms"].used, use["one-sms"].limit) == (1, 1)
    # Between the second best exchange of mail for SMS, 12 - 7, and the best, 14 - 8.
    assert 5.0 - 1e-9 <= use["one-sms"].shadow_price <= 6.0 + 1e-9
    assert use["budget"].shadow_price == result.shadow_price == 0.0


def test_those_who_may_not_be_contacted_are_not() -> None:
    contactable = np.array([True, False, True, True, True, False])
    choice, _ = solve(problem(budget(1000), contactable=contactable))
    assert ((choice > 0) == contactable).all()


def test_objectives_by_hand() -> None:
    mean, sd = np.array([[0.0, 5.0, 4.0]], np.float32), np.array([[0.0, 4.0, 1.0]])
    assert expected(mean, None) is mean
    assert mean_less_risk(0.5)(mean, sd).tolist() == [[0.0, 3.0, 3.5]]
    assert lower_bound(0.1)(mean, sd) == pytest.approx(mean + norm.ppf(0.1) * sd)
    assert lower_bound(0.5)(mean, sd) == pytest.approx(mean)


def test_risk_changes_the_choice() -> None:
    mean, sd = np.array([[0.0, 5.0, 4.0]]), np.array([[0.0, 4.0, 1.0]])
    base = Problem(mean, np.array([0, 1, 1]), NAMES, (budget(1),), sd=sd)
    assert solve(base)[0].tolist() == [1]
    assert solve(replace(base, objective=mean_less_risk(0.5)))[0].tolist() == [2]
    assert solve(replace(base, objective=mean_less_risk(10)))[0].tolist() == [0]


@pytest.mark.parametrize("make", [lambda: mean_less_risk(-1), lambda: lower_bound(0.7), lambda: lower_bound(0)])
def test_objectives_refuse_what_is_no_risk_aversion(make: Any) -> None:
    with pytest.raises(PermanentError):
        make()


def test_regret_of_a_plan_made_from_wrong_values() -> None:
    planned = problem(budget(10))
    choice, _ = solve(planned)
    truth = planned.value.copy()
    truth[:, 1:] = truth[::-1, 1:]  # the last customer is worth what the first was believed to be
    found = regret(planned, choice, truth)
    assert choice.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.chosen_minor == 3 + 4
    assert found.best_minor == 7 + 8
    assert found.regret_minor == 8
    assert found.regret_minor <= found.most_minor
    assert regret(planned, choice, planned.value).regret_minor == 0


def test_regret_refuses_a_choice_without_a_true_value_or_over_a_limit() -> None:
    planned = problem(budget(10))
    choice, _ = solve(planned)
    unknown = planned.value.copy()
    unknown[5, 1] = np.nan
    with pytest.raises(PermanentError, match="no true value of action 1, chosen in row 5"):
        regret(planned, choice, unknown)
    with pytest.raises(PermanentError, match="'budget' was not kept: 60 against 10"):
        regret(planned, np.full(6, 2), planned.value)
    with pytest.raises(PermanentError, match="does not fit"):
        regret(planned, np.full(5, 2), planned.value)
