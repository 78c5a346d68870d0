"""Segments: k-means on what customers do and on the behaviour model's vectors, then named in words.

What: k-means (Lloyd, k-means++, `N_INIT` starts) on standardised features beside the leading principal components of
the customer vectors. Assumption: groups are roughly round in that space; a customer belongs to exactly one.
When it fails: with strong outliers a segment can hold very few customers, which its size shows. Names come from fixed
rules on the segment's distance from the average customer, so that the same profile always has the same name.
Reference: Arthur & Vassilvitskii (2007), k-means++.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mktgen.contracts import CUSTOMER_SEGMENTS, SEGMENTS
from mktgen.settings import StrategySettings

Matrix = NDArray[np.float64]

N_INIT: Final = 10
VECTOR_COMPONENTS: Final = 8
# Above this distance from the average customer, in standard deviations of customers, a trait is worth a word.
NOTABLE: Final = 0.35
LOGGED: Final = ("recency_days", "orders_84d", "net_minor_84d", "net_minor_per_order_84d", "lines_84d")
PLAIN: Final = ("discount_share_84d", "coupon_share_84d", "promo_share_84d", "category_entropy", "p_churn_28d")


@dataclass(frozen=True)
class Wording:
    en: str
    zh: str


LAPSING: Final = Wording("Lapsing", "流失风险")
FREQUENT: Final = Wording("Frequent", "高频")
OCCASIONAL: Final = Wording("Occasional", "低频")
REGULAR: Final = Wording("Regular", "常规")
FULL_BASKET: Final = Wording("full-basket", "大单")
SMALL_BASKET: Final = Wording("small-basket", "小单")
ANY_BASKET: Final = Wording("", "")
DEAL: Final = Wording("deal seekers", "促销偏好顾客")
FULL_PRICE: Final = Wording("full-price buyers", "正价顾客")
SHOPPERS: Final = Wording("shoppers", "顾客")


def segment(
    features: pl.DataFrame, scores: pl.DataFrame, active: list[str], settings: StrategySettings, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Group the active customers and describe each group.

    features: contracts.CUSTOMER_FEATURES. scores: contracts.CUSTOMER_SCORES; a customer without scores gets the mean
    churn and a zero vector; empty vectors leave the features alone. Returns contracts.SEGMENTS, ordered by mean spend
    (s01 spends most), and contracts.CUSTOMER_SEGMENTS with one row for each active customer that has features. Fewer
    customers (or fewer different ones) than settings.segments give fewer segments.
    """
    wanted = pl.DataFrame({"customer_id": sorted(set(active))}, schema={"customer_id": pl.String})
    known = scores.select("customer_id", "p_churn_28d", "vector")
    customers = wanted.join(features, on="customer_id", how="inner").join(known, on="customer_id", how="left")
    customers = customers.with_columns(pl.col("p_churn_28d").fill_null(strategy="mean").fill_null(0.0))
    customers = customers.sort("customer_id")
    if customers.is_empty():
        return SEGMENTS.empty(), CUSTOMER_SEGMENTS.empty()
    labels = _cluster(customers, settings.segments, seed)
    profiles = _profiles(customers.with_columns(pl.Series("cluster", labels, dtype=pl.Int64)))
    members = customers.select("customer_id").with_columns(pl.Series("cluster", labels, dtype=pl.Int64))
    members = members.join(profiles.select("cluster", "segment_id"), on="cluster", how="left").sort("customer_id")
    return SEGMENTS.check(_describe(profiles, customers)), CUSTOMER_SEGMENTS.check(members.drop("cluster"))


def _cluster(customers: pl.DataFrame, segments: int, seed: int) -> NDArray[np.int64]:
    # One thread: sums in floating point depend on how BLAS and OpenMP split the work.
    with threadpool_limits(limits=1):
        space = np.hstack([_standardise(_behaviour(customers)), _vector_components(customers["vector"])])
        distinct = len(np.unique(space.round(9), axis=0))
        from sklearn.cluster import KMeans  # late: most steps do without

        model = KMeans(n_clusters=min(segments, distinct), n_init=N_INIT, random_state=seed % 2**32)
        labels: NDArray[np.int64] = model.fit_predict(space).astype(np.int64)
    return labels


def _behaviour(customers: pl.DataFrame) -> Matrix:
    logged = [pl.col(name).clip(lower_bound=0).log1p() for name in LOGGED]
    frame = customers.select(*logged, *(pl.col(name) for name in PLAIN))
    matrix: Matrix = np.nan_to_num(frame.cast(pl.Float64).to_numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    return matrix


def _vector_components(vectors: pl.Series) -> Matrix:
    """Leading principal components of the customer vectors [customers, <= VECTOR_COMPONENTS], overall variance 1.

    Scaled as a block (not each to 1) so that the order of importance stays; the block then weighs as much as a few
    features rather than drowning them.
    """
    width = int(vectors.list.len().fill_null(0).max() or 0)  # type: ignore[arg-type]
    if width == 0:
        return np.zeros((len(vectors), 0))
    matrix = np.zeros((len(vectors), width))
    for row, vector in enumerate(vectors.to_list()):
        if vector is not None and len(vector) == width:
            matrix[row] = vector
    matrix = np.nan_to_num(matrix - matrix.mean(axis=0))
    if not matrix.any():
        return np.zeros((len(vectors), 0))
    components = min(VECTOR_COMPONENTS, width, len(vectors))
    from sklearn.decomposition import PCA  # late: most steps do without

    reduced = PCA(n_components=components, svd_solver="full").fit_transform(matrix)
    scaled: Matrix = reduced / reduced.std(axis=0).max()
    return scaled


def _standardise(matrix: Matrix) -> Matrix:
    scale = matrix.std(axis=0)
    scaled: Matrix = (matrix - matrix.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    return scaled


PROFILE: Final = (
    "orders_84d",
    "net_minor_84d",
    "net_minor_per_order_84d",
    "recency_days",
    "discount_share_84d",
    "p_churn_28d",
)


def _profiles(customers: pl.DataFrame) -> pl.DataFrame:
    """Mean profile of each cluster, with ids by falling mean spend (ties: the smallest customer id).

    Sums run over rows in order of customer_id (bincount), so that threads can't change the last digit.
    """
    cluster = customers["cluster"].to_numpy()
    sizes = np.bincount(cluster)
    present = np.flatnonzero(sizes)
    means = {
        name: (np.bincount(cluster, weights=customers[name].to_numpy())[present] / sizes[present]).tolist()
        for name in PROFILE
    }
    _, first = np.unique(cluster, return_index=True)
    profiles = pl.DataFrame(
        {
            "cluster": present.tolist(),
            "customers": sizes[present].tolist(),
            **means,
            "first_id": customers["customer_id"].gather(first.tolist()).to_list(),
        },
        schema_overrides={"cluster": pl.Int64, "customers": pl.Int64},
    )
    profiles = profiles.sort(["net_minor_84d", "first_id"], descending=[True, False])
    ids = [f"s{position:02d}" for position in range(1, profiles.height + 1)]
    return profiles.with_columns(pl.Series("segment_id", ids, dtype=pl.String))


def _describe(profiles: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    average = {name: float(customers[name].to_numpy().mean()) for name in PROFILE}
    spread = {name: float(customers[name].to_numpy().std()) for name in PROFILE}
    rows = profiles.to_dicts()
    traits = [
        {name: (row[name] - average[name]) / spread[name] if spread[name] > 0 else 0.0 for name in PROFILE}
        for row in rows
    ]
    names = _unique([_name(trait) for trait in traits])
    total = customers.height
    described = [
        {
            **row,
            "name_en": name.en,
            "name_zh": name.zh,
            "description_en": _sentence_en(row, total),
            "description_zh": _sentence_zh(row, total),
        }
        for row, name in zip(rows, names, strict=True)
    ]
    return pl.DataFrame(described).select(pl.col(column).cast(dtype) for column, dtype in SEGMENTS.columns.items())


def _name(trait: dict[str, float]) -> Wording:
    """Words for a profile in standard deviations from the average: rhythm, basket, attitude to price."""
    if trait["p_churn_28d"] > NOTABLE and trait["recency_days"] > NOTABLE:
        rhythm = LAPSING
    elif trait["orders_84d"] > NOTABLE:
        rhythm = FREQUENT
    elif trait["orders_84d"] < -NOTABLE:
        rhythm = OCCASIONAL
    else:
        rhythm = REGULAR
    basket = ANY_BASKET
    if abs(trait["net_minor_per_order_84d"]) > NOTABLE:
        basket = FULL_BASKET if trait["net_minor_per_order_84d"] > 0 else SMALL_BASKET
    attitude = SHOPPERS
    if abs(trait["discount_share_84d"]) > NOTABLE:
        attitude = DEAL if trait["discount_share_84d"] > 0 else FULL_PRICE
    words = [word.en for word in (rhythm, basket, attitude) if word.en]
    return Wording(" ".join(words), "".join(word.zh for word in (rhythm, basket, attitude)))


def _unique(names: list[Wording]) -> list[Wording]:
    """Segments arrive by falling spend; those of one name are told apart by that order."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name.en] = seen.get(name.en, 0) + 1
        repeated = sum(other.en == name.en for other in names) > 1
        tier = seen[name.en]
        result.append(Wording(f"{name.en}, spend tier {tier}", f"{name.zh}（消费第{tier}档）") if repeated else name)
    return result


def _sentence_en(row: dict[str, float], total: int) -> str:
    return (
        f"{row['customers']:.0f} customers ({row['customers'] / total:.0%}): {row['orders_84d']:.1f} orders and "
        f"{row['net_minor_84d'] / 100:.2f} spent in 84 days, last seen {row['recency_days']:.0f} days ago, "
        f"discounts {row['discount_share_84d']:.0%} of list value, churn risk {row['p_churn_28d']:.0%}."
    )


def _sentence_zh(row: dict[str, float], total: int) -> str:
    return (
        f"{row['customers']:.0f}位顾客（{row['customers'] / total:.0%}）：84天内平均{row['orders_84d']:.1f}单、"
        f"消费{row['net_minor_84d'] / 100:.2f}，最近一次购买在{row['recency_days']:.0f}天前，"
        f"折扣占原价{row['discount_share_84d']:.0%}，流失风险{row['p_churn_28d']:.0%}。"
    )
