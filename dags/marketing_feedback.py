"""## What came of earlier decisions

Starts by itself when `marketing_loop` has decided a day, whether or not its strategy then passes the gates: what came of
earlier days must be known either way. The run has that day's partition key. It cannot be backfilled: backfill
`marketing_loop`, and this follows, day by day.

Collects the day's purchases, redemptions and clicks, joins them to earlier decisions and to what was really sent, holds demand
forecasts and churn warnings against what came, and predicted profit against realised, judges campaigns whose window is over,
measures with maturity windows and looks for drift. `request_retraining` stores its answer, the reasons and which models they
concern. `announce_retraining` is skipped unless the behaviour models are among them, and then starts `marketing_retraining`;
the response model is learned anew every day and takes the request into account by itself.
"""

from airflow.sdk import DAG, IdentityMapper, PartitionedAssetTimetable
from mktgen_airflow import DAY_DECIDED, DEFAULT_ARGS, announce_retraining, step

with DAG(
    "marketing_feedback",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=DAY_DECIDED, default_partition_mapper=IdentityMapper()),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["mktgen", "feedback"],
):
    (
        step("collect_outcomes")
        >> step("attribute")
        >> step("collect_trials")
        >> step("collect_clicks")
        >> step("judge_forecasts")
        >> step("judge_effects")
        >> step("assess_campaigns")
        >> step("measure")
        >> step("detect_drift")
        >> step("request_retraining")
        >> announce_retraining()
    )
