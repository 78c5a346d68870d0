"""The only code that knows both Airflow and mktgen: `step("allocate")` is a task, `STRATEGY_PUBLISHED` an asset.

Imported by the Dag processor every few seconds, so nothing here imports polars, torch, mlflow or `mktgen.pipeline`
before a task runs.
"""

from mktgen_airflow.approval import approve, is_newest, record_approval, wait_for_hour
from mktgen_airflow.assets import DAY_DECIDED, RETRAINING_REQUESTED, STRATEGY_PUBLISHED
from mktgen_airflow.defaults import DEFAULT_ARGS, RECOMPUTE, SHOP_TIMEZONE, source_ends
from mktgen_airflow.onboarding import SOURCES, onboard
from mktgen_airflow.rollback import roll_back
from mktgen_airflow.steps import announce_retraining, step

__all__ = [
    "DAY_DECIDED",
    "DEFAULT_ARGS",
    "RECOMPUTE",
    "RETRAINING_REQUESTED",
    "SHOP_TIMEZONE",
    "SOURCES",
    "STRATEGY_PUBLISHED",
    "announce_retraining",
    "approve",
    "is_newest",
    "onboard",
    "record_approval",
    "roll_back",
    "source_ends",
    "step",
    "wait_for_hour",
]
