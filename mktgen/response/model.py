"""Incremental effects of actions on customers, as a normal distribution over functions of the covariates.

    tau_a(x) = phi(x)'c + phi_d(x)'d_a,      (c, d) ~ N(mean, covariance)

An action that was never tried has d ~ N(0, what deviations of the others vary by) on top of the common part: no better
than guessed, and its interval says so.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mktgen.errors import CorruptArtefact
from mktgen.response.basis import Basis, UnusableCovariates

Matrix = NDArray[np.float64]
Outcome = Literal["reward", "conversion"]

_Z: Final = 1.959963984540054
_BLOCK: Final = 50_000  # customers
_FORMAT: Final = "response/1"


@dataclass(frozen=True)
class Coefficients:
    """Of one outcome. mean [D], covariance [D, D]: K common ones, then Kd deviations of each action.

    own_variance [Kd]: of the deviations of an untried action. noise_sd: of the outcome of one trial.
    """

    mean: Matrix
    covariance: Matrix
    own_variance: Matrix
    noise_sd: float


@dataclass(frozen=True)
class ResponseModel:
    """Effects of `actions` on reward (minor units) and conversion (probability), against no contact.

    terms [Kd]: functions of the basis in which actions differ. base [K]: logistic coefficients of converting without
    contact. facts: what it was learned from, for the model card.
    """

    actions: list[str]
    basis: Basis
    terms: NDArray[np.int64]
    reward: Coefficients
    conversion: Coefficients
    base: Matrix
    facts: dict[str, float | str]

    @property
    def trials_effective(self) -> float:
        """Kish's number of trials that it was learned from: old and doubted ones count less."""
        return float(self.facts["trials_effective"])

    def effects(self, features: pl.DataFrame, actions: Sequence[str] | None = None) -> pl.DataFrame:
        """customer_id, action, effect_minor, sd, low, high (95%), sorted by customer and action.

        features: one row per customer, with the covariates of the training; the order of rows doesn't matter. actions: all
        tried ones where None; others may be named. Raises UnusableCovariates.
        """
        return self._table(features, actions, "reward").rename({"effect": "effect_minor"})

    def expected(self, covariates: pl.DataFrame, actions: Sequence[str]) -> Matrix:
        """[rows, A] expected effects on reward of the actions named, in the order of rows and names; a customer may have
        several rows. Raises UnusableCovariates."""
        with threadpool_limits(limits=1):
            design = self.basis.design(covariates)
            return np.column_stack([design @ self._action(name, self.reward)[0] for name in actions])

    def conversion_effects(self, features: pl.DataFrame, actions: Sequence[str] | None = None) -> pl.DataFrame:
        """customer_id, action, effect, sd, low, high: difference in P(converted), within [-1, 1]."""
        table = self._table(features, actions, "conversion")
        return table.with_columns(pl.col("effect", "low", "high").clip(-1.0, 1.0))

    def base_conversion(self, features: pl.DataFrame) -> pl.DataFrame:
        """customer_id, base_conversion: P(converted) without contact, sorted by customer."""
        ordered = _ordered(features)
        parts = [np.zeros(0)]
        with threadpool_limits(limits=1):
            for block in ordered.iter_slices(_BLOCK):
                parts.append(1.0 / (1.0 + np.exp(-np.clip(self.basis.design(block) @ self.base, -30.0, 30.0))))
        return ordered.select("customer_id").with_columns(pl.Series("base_conversion", np.concatenate(parts)))

    def draws(
        self,
        features: pl.DataFrame,
        count: int,
        seed: int,
        actions: Sequence[str] | None = None,
        outcome: Outcome = "reward",
    ) -> Matrix:
        """[count, N, A] effects: `count` draws of the coefficients, each for all customers in the rows' order.

        A customer's numbers depend on the seed and its covariates, not on who else is scored. For many customers take
        `draw_blocks`: count * N * A * 8 bytes have to fit.
        """
        names = self._names(actions)
        result = np.empty((count, features.height, len(names)))
        position = features["customer_id"].arg_sort().to_numpy()
        done = 0
        for customers, block in self.draw_blocks(features, count, seed, names, outcome):
            result[:, position[done : done + len(customers)]] = block
            done += len(customers)
        return result

    def draw_blocks(
        self,
        features: pl.DataFrame,
        count: int,
        seed: int,
        actions: Sequence[str] | None = None,
        outcome: Outcome = "reward",
        block: int = _BLOCK,
    ) -> Iterator[tuple[pl.Series, Matrix]]:
        """The draws of `draws` in blocks of customers, in order of id: ids, and [count, rows, A]."""
        coefficients = self._drawn(count, seed, self._names(actions), outcome)
        for rows in _ordered(features).iter_slices(block):
            with threadpool_limits(limits=1):
                design = self.basis.design(rows)
                yield rows["customer_id"], np.einsum("nk,cak->cna", design, coefficients, optimize=True)

    def to_bytes(self) -> bytes:
        """The same bytes for the same model: an uncompressed npz whose `header` is JSON; nothing is pickled."""
        header = {
            "format": _FORMAT, "actions": self.actions, "facts": self.facts, "columns": self.basis.columns,
            "indicated": self.basis.indicated, "hinges": self.basis.hinges, "products": self.basis.products,
            "kept": self.basis.kept, "noise_sd": [self.reward.noise_sd, self.conversion.noise_sd],
        }  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        }
        arrays |= {"terms": self.terms, "base": self.base}
        arrays |= {f"basis_{name}": getattr(self.basis, name) for name in _BASIS_ARRAYS}
        for name, part in (("reward", self.reward), ("conversion", self.conversion)):
            arrays |= {f"{name}_{field}": getattr(part, field) for field in _COEFFICIENT_ARRAYS}
        target = io.BytesIO()
        np.savez(target, allow_pickle=False, **arrays)
        return target.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Raises CorruptArtefact where the bytes are no such model."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = dict(stored.items())
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']}")
            return cls._restored(header, arrays)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise CorruptArtefact(f"no response model of format {_FORMAT}: {error}; fit it again") from error

    @classmethod
    def _restored(cls, header: dict[str, Any], arrays: dict[str, Matrix]) -> Self:
        basis = Basis(
            columns=header["columns"],
            indicated=header["indicated"],
            hinges=[(int(column), float(knot)) for column, knot in header["hinges"]],
            products=[(int(first), int(second)) for first, second in header["products"]],
            kept=header["kept"],
            **{name: arrays[f"basis_{name}"] for name in _BASIS_ARRAYS},  # type: ignore[arg-type]
        )
        reward, conversion = (
            Coefficients(arrays[f"{name}_mean"], arrays[f"{name}_covariance"], arrays[f"{name}_own_variance"], noise)
            for name, noise in zip(("reward", "conversion"), header["noise_sd"], strict=True)
        )
        terms = arrays["terms"].astype(np.int64)
        return cls(header["actions"], basis, terms, reward, conversion, arrays["base"], header["facts"])

    def _names(self, actions: Sequence[str] | None) -> list[str]:
        return sorted(set(self.actions if actions is None else actions))

    def _own(self, action: str) -> slice | None:
        """Where an action's deviations stand; None: it was never tried."""
        if action not in self.actions:
            return None
        start = self.basis.size + self.actions.index(action) * len(self.terms)
        return slice(start, start + len(self.terms))

    def _action(self, action: str, part: Coefficients) -> tuple[Matrix, Matrix]:
        """Mean [K] and covariance [K, K] of one action's coefficients."""
        size, own = self.basis.size, self._own(action)
        mean, covariance = part.mean[:size].copy(), part.covariance[:size, :size].copy()
        place = np.ix_(self.terms, self.terms)
        if own is None:
            covariance[place] += np.diag(part.own_variance)
            return mean, covariance
        mean[self.terms] += part.mean[own]
        shared = part.covariance[:size, own]
        covariance[:, self.terms] += shared
        covariance[self.terms, :] += shared.T
        covariance[place] += part.covariance[own, own]
        return mean, covariance

    def _table(self, features: pl.DataFrame, actions: Sequence[str] | None, outcome: Outcome) -> pl.DataFrame:
        names, part, ordered = self._names(actions), getattr(self, outcome), _ordered(features)
        learned = [self._action(name, part) for name in names]
        mean, sd = (np.empty((ordered.height, len(names))) for _ in range(2))
        done = 0
        with threadpool_limits(limits=1):  # a product split over threads may differ in the last digit
            for block in ordered.iter_slices(_BLOCK):
                design, rows = self.basis.design(block), slice(done, done + block.height)
                for column, (centre, covariance) in enumerate(learned):
                    mean[rows, column] = design @ centre
                    sd[rows, column] = np.sqrt(np.maximum(((design @ covariance) * design).sum(axis=1), 0.0))
                done += block.height
        ids = ordered["customer_id"]
        return pl.DataFrame(
            {
                "customer_id": ids.gather(np.repeat(np.arange(len(ids)), len(names))),
                "action": pl.Series(names, dtype=pl.String).gather(np.tile(np.arange(len(names)), len(ids))),
                "effect": mean.ravel(),
                "sd": sd.ravel(),
                "low": (mean - _Z * sd).ravel(),
                "high": (mean + _Z * sd).ravel(),
            }
        )

    def _drawn(self, count: int, seed: int, names: list[str], outcome: Outcome) -> Matrix:
        """[count, A, K] coefficients of the actions named."""
        part: Coefficients = getattr(self, outcome)
        rng = np.random.Generator(np.random.PCG64(seed))
        with threadpool_limits(limits=1):
            values, directions = np.linalg.eigh(part.covariance)
            root = directions * np.sqrt(np.maximum(values, 0.0))
            all_drawn = part.mean + rng.standard_normal((count, len(part.mean))) @ root.T
        result = np.repeat(all_drawn[:, None, : self.basis.size], len(names), axis=1)
        for place, name in enumerate(names):
            own = self._own(name)
            if own is None:
                untried = np.random.Generator(np.random.PCG64([seed, _number(name)]))
                deviation = untried.standard_normal((count, len(self.terms))) * np.sqrt(part.own_variance)
            else:
                deviation = all_drawn[:, own]
            result[:, place, self.terms] += deviation
        return result


_BASIS_ARRAYS: Final = (
    "logged", "low", "high", "centre", "scale", "vector_mean", "components", "group", "means", "scales",
)  # fmt: skip
_COEFFICIENT_ARRAYS: Final = ("mean", "covariance", "own_variance")


def _ordered(features: pl.DataFrame) -> pl.DataFrame:
    if "customer_id" not in features.columns:
        raise UnusableCovariates("covariates lack customer_id")
    ordered = features.sort("customer_id")
    twice = ordered.filter(ordered["customer_id"].is_duplicated())["customer_id"]
    if len(twice):
        raise UnusableCovariates(f"{twice.n_unique()} customers have more than one row of covariates, e.g. {twice[0]}")
    return ordered


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
