"""P(a customer redeems any coupon of a campaign | the campaign was mailed to it).

What: ridge logistic regression on MAILINGS, recalibrated by Platt scaling on later campaigns than it was fitted on.
Formula: logit p = a * (w . z + c) + b; z standardised features; (w, c) from all matured campaigns; (a, b) from
predictions of each time block by a fit on the blocks before it (forward chaining).
Interval: percentile bootstrap over households of the whole recipe (2.5% to 97.5%); it holds the uncertainty of the
coefficients, not that of the model's form. Assumption: those mailed tomorrow respond like those mailed before.
When it fails: mailing lists were not random, so for customers unlike those ever mailed p extrapolates; too few matured
mailings fall back to smoothed base rates by campaign type, none at all to no scores (then nobody is contacted).
Reference: Platt (1999); Efron & Tibshirani (1993) for the percentile bootstrap.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import betaincinv
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float64]

BOOTSTRAP: Final = 100
BLOCKS: Final = 4
# Inverse penalty of the whole fit; divided by the rows, so that the smaller fits of the chain are not shrunk more.
RIDGE_C: Final = 200.0
UNPENALISED: Final = 1e9
MIN_POSITIVES: Final = 20  # redeeming households; below it base rates are used
PRIOR_STRENGTH: Final = 20.0  # mailings that the pooled rate is worth beside a campaign type's own
LOGGED: Final = (
    "recency_days",
    "orders_28d",
    "orders_84d",
    "net_minor_84d",
    "net_minor_per_order_84d",
    "lines_84d",
    "prior_exposures",
    "prior_redemptions",
    "prior_redeemed_campaigns",
)
PLAIN: Final = (
    "active_weeks_12",
    "discount_share_84d",
    "coupon_share_84d",
    "promo_share_84d",
    "category_entropy",
    "trend_28d",
)


@dataclass(frozen=True)
class RedemptionModel:
    """`coefficients` [1 + resamples, features + 1]: the point fit, then the bootstrap; last column is the intercept.

    `rates`: campaign type -> (p, low, high), "" for types not seen. `days_to_redemption`: days from mailing to first
    redemption of those who redeemed, sorted. `trained_on`: matured mailings.
    """

    kind: Literal["logistic", "base_rate", "none"]
    note: str
    trained_on: int
    types: list[str] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    coefficients: list[list[float]] = field(default_factory=list)
    rates: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    days_to_redemption: list[int] = field(default_factory=list)

    def predict(self, mailings: pl.DataFrame) -> pl.DataFrame:
        """p_redeem, p_redeem_low, p_redeem_high (Float64) for the rows of a MAILINGS frame, in its order."""
        if self.kind == "logistic":
            with threadpool_limits(limits=1):  # a product split over threads may differ in the last digit
                draws = _sigmoid(self._standardised(mailings) @ np.array(self.coefficients).T)
            point = draws[:, 0]
            # Thin data can leave no resample with a fit: then there is no width to show, and none is claimed.
            low, high = np.percentile(draws[:, 1:] if draws.shape[1] > 1 else draws, [2.5, 97.5], axis=1)
            values = np.stack([point, np.minimum(low, point), np.maximum(high, point)], axis=1)
        else:
            pooled = self.rates.get("", (0.0, 0.0, 1.0))
            rows = [self.rates.get(kind, pooled) for kind in mailings["campaign_type"].to_list()]
            values = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return pl.DataFrame(values, schema=["p_redeem", "p_redeem_low", "p_redeem_high"], orient="row")

    def share_redeemed_within(self, days: int) -> float:
        """Share of redeeming customers whose first redemption came within so many days of the mailing.

        Used to scale p for a campaign that has fewer days left than a whole window. 1 where nothing is known.
        """
        if not self.days_to_redemption:
            return 1.0
        return float(np.searchsorted(self.days_to_redemption, days, side="right") / len(self.days_to_redemption))

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        body = json.loads(content)
        body["rates"] = {kind: tuple(values) for kind, values in body["rates"].items()}
        return cls(**body)

    def _standardised(self, mailings: pl.DataFrame) -> Matrix:
        return _standardise(_design(mailings, self.types), np.array(self.means), np.array(self.scales))


def fit_redemption(
    examples: pl.DataFrame, partition: date, seed: int, bootstrap: int = BOOTSTRAP
) -> tuple[RedemptionModel, pl.DataFrame]:
    """Fit on matured campaigns, and show how the same recipe does on campaigns it has not seen.

    examples: `mailings.redemption_examples`; rows whose window had not ended before `partition` are left out.
    Returns the model, fitted on all of them, and held-out predictions (customer_id, campaign_id, campaign_type,
    p_redeem, affinity, redeemed): the last time block, predicted by the recipe on campaigns that ended before the
    block's first start. Empty where there is too little to hold out.
    """
    matured = examples.filter(pl.col("ended_on") < partition).sort("ended_on", "campaign_id", "customer_id")
    with threadpool_limits(limits=1):  # same bytes whatever the number of cores
        return _fit(matured, seed, bootstrap), _held_out(matured, seed)


def _fit(matured: pl.DataFrame, seed: int, bootstrap: int) -> RedemptionModel:
    if matured.is_empty():
        return RedemptionModel("none", "no campaign has matured yet: no response is known, nobody is scored", 0)
    point = _recipe(matured, None)
    days = sorted(matured["days_to_redemption"].drop_nulls().to_list())
    if point is None:
        note = f"{matured.height} matured mailings are too few for a model: smoothed base rates by campaign type"
        return RedemptionModel("base_rate", note, matured.height, rates=_rates(matured), days_to_redemption=days)
    types, means, scales, coefficients = point
    draws = [coefficients]
    households, index = np.unique(matured["customer_id"].to_numpy(), return_inverse=True)
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(bootstrap):
        counts = np.bincount(rng.integers(0, len(households), len(households)), minlength=len(households))
        again = _recipe(matured, counts[index].astype(np.float64))
        if again is not None:
            draws.append(again[3])
    note = f"logistic regression on {matured.height} matured mailings, Platt-scaled on later campaigns"
    return RedemptionModel(
        "logistic",
        note,
        matured.height,
        types,
        means.tolist(),
        scales.tolist(),
        np.array(draws).tolist(),
        days_to_redemption=days,
    )


def _held_out(matured: pl.DataFrame, seed: int) -> pl.DataFrame:
    columns = ["customer_id", "campaign_id", "campaign_type", "p_redeem", "affinity", "redeemed"]
    blocks = _blocks(matured)
    last = matured.filter(blocks == int(blocks.max())) if len(blocks) else matured  # type: ignore[arg-type]
    before = matured.filter(pl.col("ended_on") < last["started_on"].min()) if last.height else matured
    if last.is_empty() or before.is_empty():
        return matured.clear().with_columns(pl.lit(None, dtype=pl.Float64).alias("p_redeem")).select(columns)
    model = _fit(before, seed, bootstrap=1)
    return last.with_columns(model.predict(last)["p_redeem"]).select(columns).sort("campaign_id", "customer_id")


def _recipe(matured: pl.DataFrame, weight: Matrix | None) -> tuple[list[str], Matrix, Matrix, Matrix] | None:
    """Types, means, scales and calibrated coefficients [features + 1]; None where the data are too thin."""
    target = matured["redeemed"].to_numpy()
    blocks = _blocks(matured).to_numpy()
    if int(target.sum()) < MIN_POSITIVES or len(np.unique(blocks)) < 2:
        return None
    types = sorted(matured["campaign_type"].unique().to_list())
    design = _design(matured, types)
    means, scales = design.mean(axis=0), design.std(axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    space = _standardise(design, means, scales)
    weights = np.ones(len(target)) if weight is None else weight
    logits = np.full(len(target), np.nan)
    for block in np.unique(blocks)[1:]:
        earlier, now = blocks < block, blocks == block
        coefficients = _logistic(space[earlier], target[earlier], weights[earlier], RIDGE_C)
        if coefficients is not None:
            logits[now] = space[now] @ coefficients
    later = ~np.isnan(logits)
    scale = np.stack([logits[later], np.ones(int(later.sum()))], axis=1)
    platt = _logistic(scale, target[later], weights[later], UNPENALISED)
    coefficients = _logistic(space, target, weights, RIDGE_C)
    # A slope that is not positive says that the ranking does not carry over to later campaigns.
    if platt is None or coefficients is None or platt[0] <= 0:
        return None
    calibrated = platt[0] * coefficients
    calibrated[-1] += platt[1]
    return types, means, scales, calibrated


def _logistic(space: Matrix, target: NDArray[np.bool_], weights: Matrix, c: float) -> Matrix | None:
    """Ridge fit: minimises c / rows * sum of losses + |w|^2 / 2. The last column of `space` is 1 (not penalised).

    None where a class is absent.
    """
    used = weights > 0
    if len(np.unique(target[used])) < 2:
        return None
    from sklearn.linear_model import LogisticRegression  # late: most steps do without

    model = LogisticRegression(C=c / float(weights.sum()), solver="newton-cholesky", max_iter=200)
    model.fit(space[used, :-1], target[used], sample_weight=weights[used])
    return np.concatenate([model.coef_[0], model.intercept_])


def _blocks(matured: pl.DataFrame) -> pl.Series:
    """Time block of each row, 0 = earliest; whole campaigns by end date, blocks of about equal rows."""
    sizes = matured.group_by("ended_on", "campaign_id").agg(pl.len()).sort("ended_on", "campaign_id")
    middle = (pl.col("len").cum_sum() - pl.col("len") / 2) / pl.col("len").sum()
    sizes = sizes.with_columns((middle * BLOCKS).floor().cast(pl.Int64).rank("dense").alias("block"))
    joined = matured.select("campaign_id").join(sizes, on="campaign_id", how="left", maintain_order="left")
    return joined["block"].cast(pl.Int64)


def _design(mailings: pl.DataFrame, types: list[str]) -> Matrix:
    """Features before standardisation [rows, features]; the columns follow LOGGED, PLAIN, affinity, length, types."""
    columns = [
        *(pl.col(name).cast(pl.Float64).clip(lower_bound=0).log1p() for name in LOGGED),
        *(pl.col(name).cast(pl.Float64) for name in PLAIN),
        pl.col("affinity").sqrt().alias("affinity"),
        (pl.col("ended_on") - pl.col("started_on")).dt.total_days().clip(lower_bound=0).log1p().alias("window"),
        *((pl.col("campaign_type") == kind).cast(pl.Float64).alias(f"type={kind}") for kind in types),
    ]
    matrix = mailings.select(columns).to_numpy().astype(np.float64)
    clean: Matrix = np.nan_to_num(matrix, nan=0.0, posinf=0.0, neginf=0.0)
    return clean


def _standardise(design: Matrix, means: Matrix, scales: Matrix) -> Matrix:
    return np.hstack([(design - means) / scales, np.ones((len(design), 1))])


def _sigmoid(logits: Matrix) -> Matrix:
    result: Matrix = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return result


def _rates(matured: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Posterior mean and 95% bounds of a Beta-binomial by campaign type, shrunk to the pooled rate."""
    pooled = (int(matured["redeemed"].sum()) + 0.5) / (matured.height + 1.0)
    prior = (PRIOR_STRENGTH * pooled, PRIOR_STRENGTH * (1 - pooled))
    counts = (
        matured.group_by("campaign_type").agg(pl.len(), pl.col("redeemed").sum().cast(pl.Int64)).sort("campaign_type")
    )
    result = {"": _beta(*prior)}
    for kind, mailed, redeemed in counts.iter_rows():
        result[kind] = _beta(prior[0] + redeemed, prior[1] + mailed - redeemed)
    return result


def _beta(a: float, b: float) -> tuple[float, float, float]:
    return a / (a + b), float(betaincinv(a, b, 0.025)), float(betaincinv(a, b, 0.975))
