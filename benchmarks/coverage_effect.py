"""Do the intervals of mktgen/feedback/effect cover the truth as often as they say? Worlds whose truth is known.

    python -m benchmarks.coverage_effect [--repetitions 500] [--reports 200] [--seed 1] [--json FILE]

randomised: customers stay in the arm that they drew (30% held out), over one to five waves; spend is skewed, its spread grows
with the customer's level and is larger when treated, effects differ by customer. Estimated: the plain difference of
means, CUPED, the interacted regression (Lin), relative lift, ROI (Fieller); beside them the peer everybody starts with,
Welch's t interval over rows as if they were independent.
observed: who is treated depends on five covariates that are all measured, spend on them in a bent way; AIPW and overlap-R,
beside the naive difference. no effect: the same without effect, to count how often a report claims one.
unmeasured: what chose the customers also drives spend, before and after, and is not among the covariates. The product must
refuse: the share of reports refused, and by which check.

Nominal level 95%. A share p of n repetitions is known within 1.96 sqrt(p (1 - p) / n), which is printed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from mktgen.documents import EffectReport, Interval
from mktgen.feedback.effect.assess import Campaign, assess
from mktgen.feedback.effect.crossfit import nuisance
from mktgen.feedback.effect.lift import lift, roi
from mktgen.feedback.effect.observed import doubly_robust, overlap_weighted
from mktgen.feedback.effect.sample import CONTROL, Sample
from mktgen.settings import EffectSettings

Floats = NDArray[np.float64]

DAY: Final = date(2017, 1, 1)
EFFECT: Final = 6.0
CONTACT, REDEMPTION, MARGIN, REDEEMS = 0.5, 1.0, 0.3, 0.4
COVARIATES: Final = ("x0", "x1", "x2", "x3", "x4")
# Reports: name, strength of what is hidden, effect.
WORLDS: Final = (
    ("observed, no effect", 0.0, 0.0),
    ("observed, effect", 0.0, EFFECT),
    ("unmeasured, weak", 0.3, 0.0),
    ("unmeasured, strong", 1.0, 0.0),
)
SETTINGS: Final = EffectSettings(outcome_model="ridge")


@dataclass(frozen=True)
class Outcome:
    """One estimate of one repetition: its interval (None: it gave none) and the truth."""

    name: str
    interval: Interval | None
    truth: float


# -- worlds -----------------------------------------------------------------------------------------------------------
def randomised(rng: np.random.Generator, customers: int = 500) -> tuple[pl.DataFrame, float]:
    """Rows by customer and wave with net_minor, margin_minor, cost_minor and `before` (spend before); mean effect per row."""
    level = rng.gamma(3.0, 10.0, customers)
    treated = rng.random(customers) < 0.7
    waves = rng.integers(1, 6, customers)
    own_effect = EFFECT + 0.2 * (level - 30.0) + rng.normal(0, 4, customers)
    who = np.repeat(np.arange(customers), waves)
    wave = np.concatenate([np.arange(count) for count in waves])
    shock = rng.normal(0, 0.3 * level)  # lasts over the waves: they are dependent beyond the level
    noise = rng.gamma(0.5, 1.0, who.size) - 0.5
    spend = level[who] + shock[who] + noise * level[who] * (1 + 0.5 * treated[who])
    spend = spend + own_effect[who] * treated[who]
    redeemed = treated[who] & (rng.random(who.size) < REDEEMS)
    return _frame(
        who, wave, treated[who],
        net_minor=spend, margin_minor=MARGIN * spend, cost_minor=CONTACT * treated[who] + REDEMPTION * redeemed,
        before=(level + rng.normal(0, 0.3 * level))[who],
    ), EFFECT  # fmt: skip


def observed(rng: np.random.Generator, effect: float = EFFECT, customers: int = 1_500) -> tuple[pl.DataFrame, float]:
    """One row per customer with net_minor and COVARIATES that hold all that chose the treated."""
    x = rng.normal(size=(customers, 5))
    propensity = 1 / (1 + np.exp(-(0.7 * x[:, 0] - 0.5 * x[:, 1] + 0.3 * x[:, 2])))
    treated = rng.random(customers) < propensity
    base = 40 + 12 * x[:, 0] + 6 * np.abs(x[:, 1]) + 5 * np.maximum(x[:, 2], 0) + 4 * x[:, 3]
    own_effect = effect + (2.0 * x[:, 4] if effect else 0.0)
    spend = base + own_effect * treated + rng.normal(0, 10, customers) * (1 + 0.3 * np.abs(x[:, 0]))
    covariates = {name: x[:, place] for place, name in enumerate(COVARIATES)}
    return _frame(
        np.arange(customers), np.zeros(customers, dtype=np.int64), treated, net_minor=spend, **covariates
    ), effect


def campaign(rng: np.random.Generator, hidden: float, effect: float, customers: int = 1_500) -> Campaign:
    """A mailed campaign of two windows. `hidden`: what chose the customers and also drives spend in both, unmeasured.

    Covariates are a noisy view of past spend and four more; fuel depends on what is hidden, never on the campaign.
    """
    x = rng.normal(size=(customers, 5))
    u = rng.normal(size=customers)
    propensity = 1 / (1 + np.exp(-(0.6 * x[:, 0] - 0.4 * x[:, 1] + 1.2 * hidden * u)))
    treated = rng.random(customers) < propensity
    base = 40 + 12 * x[:, 0] - 5 * x[:, 1] + 8 * hidden * u

    def window(first: bool) -> pl.DataFrame:
        spend = base + effect * (treated & (not first)) + rng.normal(0, 10, customers)
        fuel = 10 + 2 * x[:, 0] + 3 * hidden * u + rng.normal(0, 5, customers)
        covariates = {name: x[:, place] for place, name in enumerate(COVARIATES)}
        frame = _frame(
            np.arange(customers),
            np.zeros(customers, dtype=np.int64),
            treated,
            net_minor=spend,
            other_minor=fuel,
            **covariates,
        )
        return frame.with_columns(pl.lit(False).alias("in_other_campaign"))

    return Campaign(
        campaign_id="1", partition=DAY, rows=window(first=False), placebo=window(first=True), outcome="net_minor",
        covariates=COVARIATES, said="spend per customer", negative_control="other_minor",
        other_campaign="in_other_campaign",
    )  # fmt: skip


def _frame(
    who: NDArray[np.int64], wave: NDArray[np.int64], treated: NDArray[np.bool_], **values: Floats
) -> pl.DataFrame:
    return pl.DataFrame({
        "customer_id": [f"c{number:05d}" for number in who.tolist()],
        "wave": [DAY + timedelta(days=28 * number) for number in wave.tolist()],
        "arm": np.where(treated, "treated", CONTROL).tolist(),
        **values,
    })  # fmt: skip


# -- repetitions ------------------------------------------------------------------------------------------------------
def randomised_estimates(rng: np.random.Generator) -> Iterable[Outcome]:
    rows, truth = randomised(rng)
    plain, by_cuped = lift(rows, "net_minor"), lift(rows, "net_minor", ("before",), "cuped")
    by_lin = lift(rows, "net_minor", ("before",), "interacted")
    yield Outcome("rows as if independent (Welch)", _welch(rows), truth)
    yield Outcome("difference of means, CR2", plain.raw.interval(), truth)
    yield Outcome("CUPED, CR2", by_cuped.adjusted.interval(), truth)
    yield Outcome("interacted (Lin), CR2", by_lin.adjusted.interval(), truth)
    yield Outcome("relative lift, delta method", by_lin.relative, truth / 30.0)
    returned = MARGIN * truth / (CONTACT + REDEMPTION * REDEEMS) - 1
    yield Outcome("ROI, Fieller", roi(rows, "margin_minor", "cost_minor", ("before",)), returned)


def observed_estimates(rng: np.random.Generator) -> Iterable[Outcome]:
    rows, truth = observed(rng)
    sample = Sample.of(rows, "net_minor", COVARIATES)
    fitted = nuisance(sample, SETTINGS.folds, SETTINGS.outcome_model, seed=0)
    yield Outcome("naive difference", lift(rows, "net_minor").raw.interval(), truth)
    yield Outcome("AIPW", doubly_robust(sample, fitted, SETTINGS.trim).interval(), truth)
    yield Outcome("overlap-R", overlap_weighted(sample, fitted).interval(), truth)


def _welch(rows: pl.DataFrame) -> Interval:
    one, other = (rows.filter(pl.col("arm") == arm)["net_minor"].to_numpy() for arm in ("treated", CONTROL))
    bounds = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return Interval(value=float(one.mean() - other.mean()), low=float(bounds.low), high=float(bounds.high))


@dataclass(frozen=True)
class Coverage:
    """How often the interval held the truth, and the mean of its width and of the error."""

    name: str
    repetitions: int
    share: float
    width: float
    bias: float

    @property
    def margin(self) -> float:
        return 1.96 * float(np.sqrt(self.share * (1 - self.share) / self.repetitions))


def coverage(
    estimates: Callable[[np.random.Generator], Iterable[Outcome]], repetitions: int, seed: int
) -> list[Coverage]:
    """By estimate, in their order. An estimate that gives no interval doesn't cover."""
    found: dict[str, list[tuple[bool, float, float]]] = {}
    for stream in np.random.SeedSequence(seed).spawn(repetitions):
        for one in estimates(np.random.default_rng(stream)):
            i = one.interval
            held = (
                (False, np.nan, np.nan)
                if i is None
                else (i.low <= one.truth <= i.high, i.high - i.low, i.value - one.truth)
            )
            found.setdefault(one.name, []).append(held)
    return [
        Coverage(name, len(rows), float(np.mean([held for held, _, _ in rows])),
                 float(np.nanmean([width for _, width, _ in rows])), float(np.nanmean([bias for _, _, bias in rows])))
        for name, rows in found.items()
    ]  # fmt: skip


def reports(hidden: float, effect: float, repetitions: int, seed: int) -> list[EffectReport]:
    streams = np.random.SeedSequence(seed).spawn(repetitions)
    return [assess(campaign(np.random.default_rng(stream), hidden, effect), SETTINGS, seed=0) for stream in streams]


def refused_by(found: Iterable[EffectReport], *checks: str) -> float:
    """Share of reports that at least one of the checks refused."""
    return float(np.mean([any(gate.name in checks and gate.passed is False for gate in one.gates) for one in found]))


def show_reports(name: str, found: list[EffectReport], effect: float) -> dict[str, float]:
    failed = Counter(gate.name for one in found for gate in one.gates if gate.passed is False)
    told = [one.effect for one in found if one.effect is not None]
    shares = {check: count / len(found) for check, count in failed.most_common()}
    line = ", ".join(f"{check} {share:.1%}" for check, share in shares.items()) or "nothing"
    either = refused_by(found, "placebo", "negative_control")
    covered = (
        f"{np.mean([one.low <= effect <= one.high for one in told]):.1%} of their intervals hold it" if told else "none"
    )
    print(f"{name}: {len(found) - len(told)} of {len(found)} refused; by placebo or negative control {either:.1%}")
    print(f"  failed: {line}; {len(told)} reported, truth {effect:g}: {covered}", flush=True)
    return {"refused": 1 - len(told) / len(found), "placebo_or_negative_control": either, **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--reports", type=int, default=200, help="repetitions of the worlds that are judged")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    every: dict[str, object] = {}
    for world, estimates in (("randomised", randomised_estimates), ("observed", observed_estimates)):
        if not arguments.repetitions:
            continue
        rows = coverage(estimates, arguments.repetitions, arguments.seed)
        print(f"{world}, {arguments.repetitions} repetitions; 95% is nominal")
        for one in rows:
            told = f"width {one.width:7.3f} ({one.width / rows[0].width:.2f} of the first)  bias {one.bias:+.3f}"
            print(f"  {one.name:<32}{one.share:>7.1%} ±{one.margin:.1%}  {told}", flush=True)
        every[world] = {one.name: one.share for one in rows}
    for name, hidden, effect in (
        ("observed, no effect", 0.0, 0.0),
        ("observed, effect", 0.0, EFFECT),
        ("unmeasured", 1.0, 0.0),
    ):
        every[name] = show_reports(name, reports(hidden, effect, arguments.reports, arguments.seed), effect)
    if arguments.json:
        arguments.json.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
