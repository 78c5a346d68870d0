"""Numbers that depend on a customer's key alone: they break ties and draw samples, so that row order never does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15


def scrambled(keys: Keys, salt: int = 0) -> Keys:
    """One-to-one mixing of 64 bits, another for each salt (splitmix64; Steele, Lea & Flood 2014): different keys stay
    different."""
    return _mix(_mix(keys) + np.uint64(salt * _STEP % 2**64))


def fraction(keys: Keys, salt: int = 0) -> NDArray[np.float64]:
    """Scrambled keys as numbers in [0, 1)."""
    return (scrambled(keys, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(keys: Keys) -> Keys:
    mixed = keys + np.uint64(_STEP)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
