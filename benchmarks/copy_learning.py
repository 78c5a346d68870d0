"""SIMULATED: how many click, wave by wave, when wordings are chosen by what earlier clicks taught, beside other ways to choose.

    python -m benchmarks.copy_learning [--scenario strong null ...] [--seeds 0 1 ...] [--copies 3] [--waves 10] [--json FILE]
    python -m benchmarks.copy_learning --before DRAFTS.jsonl --after DRAFTS.jsonl      # two sets of a model's drafts

Every wave each active customer of the market gets one e-mail. Customers are in six segments by what a shop knows of them, each
with a tone; its pool holds six wordings of the bank, as in the product: three of a standing set of 60, and three new ones every
week. Wordings are chosen

    learned          by the product: posterior of all clicks so far, P(best), a tenth drawn evenly (copywriting/pool.py)
    uniform          evenly
    best fixed       one wording for everybody and all waves: the best of all that could be chosen, in hindsight, by the truth
    best by segment  for each segment and wave the best of its tone, by the truth: more than any choice by segment can reach

The first wave knows nothing. A wave's clicks are known before the next. Reported is the true click rate of what was chosen (the
mean of P(click), not the luck of clicks), with 95% intervals over seeds (Student's t). All ways meet the same customers, and
draws belong to seed, wave and customer: whoever clicks a message would click any that is as likely to be clicked.

claims: waves after which the report says of any trait that it works or harms; in `null` each such claim is wrong, and at most
5% of waves may have one.

judge: never-sent wordings of the bank, those that the clicks of the other segments say are best against as many taken blindly;
true difference on the held-out segments beside what the held-out posterior expects, and how often its interval holds the truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from mktgen.contracts import WORDING_TRIALS
from mktgen.copywriting.bank import bank
from mktgen.copywriting.facts import facts
from mktgen.copywriting.pool import Pool, even, standing_wordings
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_fit import fit
from mktgen.copywriting.preference_use import expected_gain, held_out, preference_pairs, split, trait_lines
from mktgen.copywriting.wording import TONES, Tone, Wording
from mktgen.market_sim.chance import Floats
from mktgen.market_sim.oracle import click_rates
from mktgen.market_sim.panel import panel
from mktgen.market_sim.reading import clicks
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.settings import MarketSettings, SourceSettings, WordSettings
from mktgen.sources.simulated_market import open_source

FIRST_WAVE: Final = date(2017, 7, 3)
KNOWN: Final = frozenset({"item", "also", "discount", "valid_to"})
TOLD: Final = facts("en", "Cheese", ["Soft Drinks", "Frozen Pizza"], 100, date(2017, 12, 31), "$")
# Segment -> tone; a tone's segments are its customers of smaller and of larger spend.
SEGMENTS: Final[dict[str, Tone]] = {
    "s01": "reward", "s02": "reward", "s03": "deal", "s04": "everyday", "s05": "everyday", "s06": "win_back",
}  # fmt: skip
DRAFTS: Final = 20  # of each side and tone, for the judge
WORDS: Final = WordSettings()


@dataclass(frozen=True)
class Wave:
    """Customers of one wave. truth [N, W]: P(click) of every wording that may be chosen, `wordings` in order."""

    day: date
    table: pl.DataFrame
    segment: NDArray[np.str_]
    wordings: tuple[Wording, ...]
    truth: Floats

    def rate(self, chosen: NDArray[np.int64]) -> float:
        return float(self.truth[np.arange(len(chosen)), chosen].mean())


def segments(table: pl.DataFrame) -> NDArray[np.str_]:
    """By what a shop knows: away long, many visits, many coupons, or none of these."""
    away, visits, coupons, spend = (
        table[name].to_numpy() for name in ("recency_days", "visits_84d", "coupon_lines_84d", "spend_minor_84d")
    )
    tone = np.full(table.height, "everyday", dtype="<U8")
    tone[coupons > np.quantile(coupons, 0.7)] = "deal"
    tone[visits > np.quantile(visits, 0.8)] = "reward"
    tone[away > np.quantile(away, 0.8)] = "win_back"
    found = np.full(table.height, "", dtype="<U3")
    for name in TONES:
        own = tone == name
        places = [segment for segment, its in SEGMENTS.items() if its == name]
        cut = np.quantile(spend[own], 1 / len(places)) if len(places) > 1 else np.inf
        found[own] = np.where(spend[own] <= cut, places[-1], places[0])
    return found


def texts(wordings: Sequence[Wording]) -> list[tuple[str, str]]:
    return [(text.subject, text.body) for text in (one.fill(TOLD) for one in wordings)]


def waves(scenario: Scenario, copies: int, count: int) -> list[Wave]:
    market = open_source(SourceSettings(market=MarketSettings(copies=copies)), "the benchmark")
    days = [FIRST_WAVE + timedelta(days=7 * number) for number in range(count)]
    organic = market.organic(days[0] - timedelta(days=84), days[-1] + timedelta(days=28))
    every = {one.id: one for tone in TONES for one in standing_wordings("email", "en", tone, KNOWN)}
    every |= {one.id: one for day in days for tone in TONES for one, _ in pool_of(day).chances(tone, KNOWN)}
    wordings = tuple(every[name] for name in sorted(every))
    found = []
    for day in days:
        table = panel(organic, day, scenario)
        found.append(Wave(day, table, segments(table), wordings, click_rates(table, texts(wordings), scenario)))
    return found


def pool_of(day: date, preference: Preference | None = None, seed: int = 0) -> Pool:
    best = partial(preference.best, seed=seed) if preference else even
    return Pool("email", "en", best=best, week=str(day))


def choose(wave: Wave, pool: Pool, seed: int) -> NDArray[np.int64]:
    """The wording of each customer, as the product draws it."""
    place = {one.id: number for number, one in enumerate(wave.wordings)}
    pairs = zip(wave.table["customer_id"], wave.segment, strict=True)
    drawn = [pool.drawn(SEGMENTS[segment], KNOWN, f"{seed}:{wave.day}:{who}")[0][0].id for who, segment in pairs]
    return np.array([place[name] for name in drawn], dtype=np.int64)


def counted(wave: Wave, pool: Pool, chosen: NDArray[np.int64], scenario: Scenario, seed: int) -> pl.DataFrame:
    """contracts.WORDING_TRIALS of a wave."""
    said = texts(wave.wordings)
    sent = wave.table.select("customer_id").with_columns(
        send_id=pl.col("customer_id"),
        subject=pl.Series([said[one][0] for one in chosen]),
        body=pl.Series([said[one][1] for one in chosen]),
        segment_id=pl.Series(wave.segment.tolist()),
        wording_id=pl.Series([wave.wordings[one].id for one in chosen]),
    )
    who = clicks(wave.table, sent.drop("segment_id", "wording_id"), scenario, seed)["customer_id"]
    tally = sent.group_by("segment_id", "wording_id").agg(
        sends=pl.len().cast(pl.Int64), clicks=pl.col("customer_id").is_in(who.to_list()).sum().cast(pl.Int64)
    )
    tones = pl.DataFrame({"segment_id": list(SEGMENTS), "tone": list(SEGMENTS.values())})
    rows = tones.join(pool.log(), on="tone").join(tally, on=["segment_id", "wording_id"], how="left")
    rows = rows.with_columns(pl.col("sends", "clicks").fill_null(0), decided_on=pl.lit(wave.day))
    return WORDING_TRIALS.check(rows.select(list(WORDING_TRIALS.columns)).sort(WORDING_TRIALS.key))


def study(run: Sequence[Wave], scenario: Scenario, seed: int) -> dict[str, Any]:
    found, past = learned(run, scenario, seed)
    return {**found, "judge": judged(past, run[-1], scenario, seed)}


def learned(run: Sequence[Wave], scenario: Scenario, seed: int) -> tuple[dict[str, Any], pl.DataFrame]:
    """Rates and claims by wave, and contracts.WORDING_TRIALS of all waves."""
    rates: dict[str, list[float]] = {"learned": [], "uniform": []}
    claims, past, preference = [], WORDING_TRIALS.empty(), None
    for number, wave in enumerate(run):
        pool = pool_of(wave.day, preference, seed + number)
        chosen = choose(wave, pool, seed)
        rates["learned"].append(wave.rate(chosen))
        rates["uniform"].append(wave.rate(choose(wave, pool_of(wave.day), seed)))
        past = pl.concat([past, counted(wave, pool, chosen, scenario, seed)])
        preference = fit(past, WORDS.min_clicks, seed)
        claims.append([line.trait for line in trait_lines(preference) if line.works or line.harms])
    return {**rates, "claims": claims}, past


def judged(past: pl.DataFrame, wave: Wave, scenario: Scenario, seed: int) -> dict[str, Any]:
    """Never-sent wordings, the best by the other segments' clicks against blind ones, on the held-out segments."""
    tuning, apart = split(past, WORDS.held_out_share)
    tuned, judge = fit(tuning, WORDS.min_clicks), fit(apart, WORDS.min_clicks)
    better, blind = [], []
    for tone in sorted({tone for name, tone in SEGMENTS.items() if held_out(name, WORDS.held_out_share)}):
        fresh = [
            one for one in bank("en").wordings("email", tone, KNOWN, 500, f"fresh {seed}") if one not in wave.wordings
        ]
        order = np.argsort(-tuned.logits(fresh, seed).mean(axis=0), kind="stable")
        better += [fresh[place] for place in order[:DRAFTS]]
        blind += fresh[:DRAFTS]
    found = expected_gain(judge, better, blind, seed)
    if found is None:
        raise RuntimeError("the held-out segments have no wording in common")
    truth = true_rate(wave, better, scenario, judge) - true_rate(wave, blind, scenario, judge)
    pairs = preference_pairs(tuned, tuning, WORDS.sure_from, seed).height
    return {"truth": truth, "expected": found.value, "low": found.low, "high": found.high, "pairs": pairs}


def true_rate(wave: Wave, drafts: Sequence[Wording], scenario: Scenario, judge: Preference | None = None) -> float:
    """Mean click rate of drafts on the held-out segments of a wave, each in segments of its tone; tones weigh as the judge
    weighs them, or by their customers."""
    rates, weights = [], []
    for tone in sorted({one.tone for one in drafts}):
        names = [name for name, its in SEGMENTS.items() if its == tone and held_out(name, WORDS.held_out_share)]
        own = np.isin(wave.segment, names)
        if own.any():
            table = wave.table.filter(pl.Series(own))
            said = texts([one for one in drafts if one.tone == tone])
            rates.append(float(click_rates(table, said, scenario).mean()))
            weights.append(float(judge.share[TONES.index(tone)]) if judge else float(own.sum()))
    return float(np.average(rates, weights=weights))


def beside(run: Sequence[Wave]) -> dict[str, list[float]]:
    """What nobody can do who doesn't know the truth."""
    fixed = int(np.mean([wave.truth.mean(axis=0) for wave in run], axis=0).argmax())
    by_segment = []
    for wave in run:
        total = 0.0
        for name, tone in SEGMENTS.items():
            usable = [place for place, one in enumerate(wave.wordings) if one.tone == tone]
            total += float(wave.truth[wave.segment == name][:, usable].sum(axis=0).max(initial=0.0))
        by_segment.append(total / wave.table.height)
    return {"best fixed": [float(wave.truth[:, fixed].mean()) for wave in run], "best by segment": by_segment}


def drafts_of(path: Path) -> list[Wording]:
    """JSON lines: form, language, tone, subject, body. English e-mails are judged."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    kept = [row for row in rows if (row["form"], row["language"]) == ("email", "en")]
    return [Wording("email", "en", row["tone"], row["subject"], row["body"], "model") for row in kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=names(), default=["strong", "null"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--copies", type=int, default=3, help="customers per household; 3 are about 6,700 a wave")
    parser.add_argument("--waves", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--before", type=Path, help="verified drafts of a model before preference tuning")
    parser.add_argument("--after", type=Path, help="and after it")
    arguments = parser.parse_args()
    if (arguments.before is None) != (arguments.after is None):
        parser.error("--before and --after go together")
    found: dict[str, Any] = {}
    for name in arguments.scenario:
        scenario = load(name)
        run = waves(scenario, arguments.copies, 1 if arguments.before else arguments.waves)
        if arguments.before:
            rates = [true_rate(run[0], drafts_of(path), scenario) for path in (arguments.before, arguments.after)]
            print(
                f"SIMULATED, {name}: true click rate on held-out segments {rates[0]:.4f} before, {rates[1]:.4f} after"
            )
            continue
        found[name] = {"beside": beside(run), "customers": [wave.table.height for wave in run], "seeds": {}}
        for seed in arguments.seeds:
            found[name]["seeds"][seed] = study(run, scenario, seed)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        show(name, found[name])


def interval(values: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and half width of the 95% interval over seeds [S, W]."""
    seeds = len(values)
    half = student.ppf(0.975, seeds - 1) * values.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else values[0] * 0
    return values.mean(axis=0), half


def show(name: str, found: dict[str, Any]) -> None:
    runs = list(found["seeds"].values())
    customers = found["customers"]
    print(
        f"\nSIMULATED, scenario {name}, {min(customers)} to {max(customers)} customers a wave, {len(runs)} seeds: click rate, %"
    )
    for way in ("learned", "uniform"):
        mean, half = interval(100 * np.array([run[way] for run in runs]))
        print(f"{way:16}" + "".join(f"{a:7.2f}±{b:4.2f}" for a, b in zip(mean, half, strict=True)))
    for way, values in found["beside"].items():
        print(f"{way:16}" + "".join(f"{100 * value:7.2f}     " for value in values))
    gain = np.array([np.array(run["learned"]) - np.array(run["uniform"]) for run in runs])
    room = np.array(found["beside"]["best by segment"]) - np.array([run["uniform"] for run in runs])
    if room.mean() > 1e-4:
        mean, half = interval(gain / room)
        print(f"{'of the room':16}" + "".join(f"{a:7.2f}±{b:4.2f}" for a, b in zip(mean, half, strict=True)))
    claims = [bool(one) for run in runs for one in run["claims"]]
    kinds = sorted({trait for run in runs for one in run["claims"] for trait in one})
    print(
        f"claims: {sum(claims)} of {len(claims)} waves ({sum(claims) / len(claims):.1%}): {', '.join(kinds) or 'none'}"
    )
    rows = [run["judge"] for run in runs]
    holds = sum(row["low"] <= row["truth"] <= row["high"] for row in rows)
    better = sum(row["low"] > 0 for row in rows)
    print(
        f"judge: true gain {100 * np.mean([row['truth'] for row in rows]):.2f} points, expected "
        f"{100 * np.mean([row['expected'] for row in rows]):.2f}; interval holds the truth in {holds} of {len(rows)}, above 0 "
        f"in {better}; {np.mean([row['pairs'] for row in rows]):.0f} pairs"
    )


if __name__ == "__main__":
    main()
