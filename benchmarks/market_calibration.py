"""The redemption hazard of the simulated market against real redemptions, fitted again.

    python -m benchmarks.market_calibration [--json FILE]

Every household mailed in a campaign of Complete Journey that began on or after 2017-01-29 and had shopped in the 84 days
before; covariates by market_sim's own `panel` at the campaign's start. Printed: the scale of each covariate, its coefficient
fitted here (logistic regression, nearly unpenalised) and the stored one, and mean rates by campaign type: observed, by the
fit, by the stored coefficients. Expected: .167 / .063 observed, .160 / .067 by the stored ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from mktgen.market_sim.covariates import SCALES, Covariate, standardised, transformed
from mktgen.market_sim.hazard import INTERCEPT, TYPE_A, WEIGHTS, redemption_logit
from mktgen.market_sim.panel import KNOWN_DAYS, panel
from mktgen.settings import SourceSettings
from mktgen.sources.complete_journey import PACKAGE
from mktgen.sources.simulated_market import open_source

FIRST_START: Final = date(2017, 1, 29)  # before it the 84 days are mostly not in the data
AFFINITY: Final[tuple[Covariate, str]] = ("affinity", "affinity_meat_coupon")


def campaigns() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Mailings (customer_id, campaign_id, type_a, start) and redeemers (customer_id, campaign_id) of the package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{PACKAGE} is not installed: pip install -r requirements.txt")
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    household = pl.col("household_id").cast(pl.String).alias("customer_id")
    described = pl.read_parquet(data / "campaign_descriptions.parquet").select(
        "campaign_id",
        pl.col("start_date").dt.date().alias("start"),
        (pl.col("campaign_type") == "Type A").alias("type_a"),
    )
    mailed = pl.read_parquet(data / "campaigns.parquet").join(described, on="campaign_id")
    redeemed = pl.read_parquet(data / "coupon_redemptions.parquet").select(household, "campaign_id").unique()
    return mailed.select(household, "campaign_id", "type_a", "start"), redeemed


def examples() -> pl.DataFrame:
    """Panel rows of mailed households at their campaign's start, with type_a and redeemed."""
    market = open_source(SourceSettings(), "the benchmark")
    mailed, redeemed = campaigns()
    mailed = mailed.filter(pl.col("start") >= FIRST_START)
    organic = market.organic(FIRST_START - timedelta(days=KNOWN_DAYS), market.last_day)
    parts = []
    for start in mailed["start"].unique().sort():
        listed = mailed.filter(pl.col("start") == start)
        parts.append(listed.join(panel(organic, start, market.scenario), on="customer_id"))
    hit = redeemed.with_columns(pl.lit(True).alias("redeemed"))
    rows = pl.concat(parts).join(hit, on=["customer_id", "campaign_id"], how="left")
    return rows.with_columns(pl.col("redeemed").fill_null(False)).sort("campaign_id", "customer_id")


def calibration(rows: pl.DataFrame) -> dict[str, Any]:
    design = np.stack(
        [standardised(rows, name) for name in WEIGHTS] + [rows["type_a"].to_numpy().astype(float)], axis=1
    )
    fit = LogisticRegression(C=1e6, max_iter=1_000).fit(design, rows["redeemed"].to_numpy())
    fitted = fit.predict_proba(design)[:, 1]
    stored = expit(redemption_logit(rows) + TYPE_A * design[:, -1])
    coefficients = [*fit.coef_[0], fit.intercept_[0]]
    known = [*WEIGHTS.values(), TYPE_A, INTERCEPT]
    rates = {}
    for label, wanted in (("A", True), ("B and C", False)):
        mask = rows["type_a"].to_numpy() == wanted
        rates[label] = {
            "mailings": int(mask.sum()),
            "observed": float(rows["redeemed"].to_numpy()[mask].mean()),
            "fitted": float(fitted[mask].mean()),
            "stored": float(stored[mask].mean()),
        }
    columns: dict[Covariate, str] = {name: name for name in WEIGHTS} | {AFFINITY[0]: AFFINITY[1]}
    scales = {name: transformed(rows, name, column) for name, column in columns.items()}
    return {
        "mailings": rows.height,
        "scales": {
            name: {
                "mean": float(values.mean()),
                "spread": float(values.std()),
                "stored_mean": SCALES[name].mean,
                "stored_spread": SCALES[name].spread,
            }
            for name, values in scales.items()
        },
        "coefficients": {
            name: {"fitted": float(value), "stored": float(old)}
            for name, value, old in zip([*WEIGHTS, "type A", "intercept"], coefficients, known, strict=True)
        },
        "rates": rates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    found = calibration(examples())
    print(f"{found['mailings']} mailings\n\n{'covariate':20} {'mean':>7} {'stored':>7} {'spread':>7} {'stored':>7}")
    for name, scale in found["scales"].items():
        print(
            f"{name:20} " + " ".join(f"{scale[key]:7.3f}" for key in ("mean", "stored_mean", "spread", "stored_spread"))
        )
    print(f"\n{'coefficient':20} {'fitted':>7} {'stored':>7}")
    for name, value in found["coefficients"].items():
        print(f"{name:20} {value['fitted']:7.3f} {value['stored']:7.3f}")
    print(f"\n{'type':8} {'mailings':>8} {'observed':>8} {'fitted':>8} {'stored':>8}")
    for name, rate in found["rates"].items():
        rates = " ".join(f"{rate[key]:8.3f}" for key in ("observed", "fitted", "stored"))
        print(f"{name:8} {rate['mailings']:8} {rates}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
