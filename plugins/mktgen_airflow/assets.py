"""What one Dag tells another: named events, each carrying the partition of the run that emitted it."""

from __future__ import annotations

from typing import Final

from airflow.sdk import Asset

# The `x-` scheme keeps Airflow from rewriting the URI; where the data lies on S3 is in the task's XCom, per partition.
DAY_DECIDED: Final = Asset(name="day_decided", uri="x-mktgen://day_decided", group="mktgen")
STRATEGY_PUBLISHED: Final = Asset(name="strategy_published", uri="x-mktgen://strategy_published", group="mktgen")
RETRAINING_REQUESTED: Final = Asset(name="retraining_requested", uri="x-mktgen://retraining_requested", group="mktgen")
