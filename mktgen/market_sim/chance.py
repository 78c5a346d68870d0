"""Chance that belongs to a customer: the same draw whatever else is in the frame, and in whatever order.

A draw is a hash of the customer and of what is asked (seed, wave, name), not the next number of a stream. Potential
outcomes of all actions of a customer and wave use the same draws, so they can be compared one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def keys(identifiers: pl.Series) -> Keys:
    """A number for each identifier (64 bits of BLAKE2b), whatever version of whatever library hashes."""
    names = identifiers.unique().sort()
    numbers = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") for name in names]
    found = identifiers.replace_strict(names, pl.Series(numbers, dtype=pl.UInt64), return_dtype=pl.UInt64)
    return found.to_numpy().astype(np.uint64)


def salted(base: Keys, *asked: str | int) -> Keys:
    """Keys of one question about each customer."""
    text = json.dumps(asked, separators=(",", ":"))
    salt = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return mixed(base, np.full(base.shape, salt, dtype=np.uint64))


def mixed(base: Keys, other: Keys) -> Keys:
    """Keys of pairs. Two rounds of splitmix64 (Steele, Lea and Flood, 2014)."""
    return _mix(_mix(base) ^ other)


def uniform(of: Keys) -> Floats:
    """Numbers in (0, 1), never an end."""
    return (np.right_shift(_mix(of), np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(of: Keys) -> Floats:
    """Standard normal numbers, by the inverse of the distribution function: one per key."""
    return np.asarray(ndtri(uniform(of)), dtype=np.float64)


def choice(of: Keys, options: int) -> NDArray[np.int64]:
    """One of `options` numbers from 0, all equally likely."""
    return np.minimum((uniform(of) * options).astype(np.int64), options - 1)


def name_of(parts: Sequence[str | int]) -> str:
    """Hexadecimal digest of a few words: identities that must not change between runs."""
    return hashlib.sha256(json.dumps(list(parts), separators=(",", ":")).encode()).hexdigest()


def _mix(value: Keys) -> Keys:
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is what is meant
        value = value + _GAMMA
        value = (value ^ np.right_shift(value, np.uint64(30))) * _FIRST
        value = (value ^ np.right_shift(value, np.uint64(27))) * _SECOND
        mixed_value: Keys = value ^ np.right_shift(value, np.uint64(31))
        return mixed_value
