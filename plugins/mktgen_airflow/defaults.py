"""What every task has in common: owner, retries, time limits; and the form field that several Dags share."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule

# A partition is a business day of the shop: its run starts at the shop's midnight, when the day is over.
SHOP_TIMEZONE: Final = "America/New_York"


def source_ends() -> datetime | None:
    """MKTGEN_SOURCE_ENDS (a day, e.g. 2017-12-31): the last business day that the source has; unset: it goes on.

    Without it an unpaused `marketing_loop` at once starts a run for yesterday, which a history of 2017 doesn't have.
    """
    last = os.environ.get("MKTGEN_SOURCE_ENDS", "")
    if not last:
        return None
    tick = datetime.fromisoformat(last) + timedelta(days=1)  # the run of a day starts at the next midnight
    return tick.replace(tzinfo=ZoneInfo(SHOP_TIMEZONE))


# The same input fails the same way again, so a person is told at once. By name, so that a worker resolves the class.
RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="mktgen.errors.PermanentError",
            action=RetryAction.FAIL,
            reason="the same input will fail again; a person must act (see the message above)",
        )
    ]
)

# Waits of at least 10, 20, 40, 80 and 160 s: five minutes without S3 or MLflow, or a restarted scheduler, are survived.
DEFAULT_ARGS: Final[dict[str, Any]] = {
    "owner": "mktgen",
    "retries": 5,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(hours=1),
}

TRAINING_TIMEOUT: Final = timedelta(hours=12)
TRAINING_QUEUE: Final = "gpu"  # Celery workers with `-q gpu`; the LocalExecutor has one queue and ignores it
TRAINING_POOL: Final = "gpu"  # one slot per GPU: two trainings never share one

RECOMPUTE: Final = Param(
    "changed",
    type="string",
    enum=["changed", "day", "all"],
    title="Recompute",
    description_md=(
        "What to compute anew although it has been computed.\n\n"
        "- **changed**: only steps whose inputs, settings or code changed; the rest is reused\n"
        "- **day**: every step of this day; trained models are reused\n"
        "- **all**: every step of this day, training too\n\n"
        "The same inputs give the same bytes either way."
    ),
)
