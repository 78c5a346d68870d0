"""## The marketing loop: one run decides one business day

From the day's raw rows to a published, evaluated strategy. A run's **partition key** is its business day (New York);
it starts by itself at midnight, when the day is over.

**To run past days:** *Trigger* > *Backfill*, from 00:00 of the first day to 23:59 of the last (the form's times are UTC
unless changed below the menu; a business day begins at 4 or 5 o'clock UTC). Days are decided in order, one at a time.
Days already decided: choose *All Runs* to run them again; the same inputs give the same bytes. *Recompute* counts only
with *Override parameters on existing runs* ticked: without it Airflow does not send the form's parameters.

**What follows by itself**, for each day: `marketing_feedback` measures what came of earlier decisions, and
`marketing_execution` asks a person to approve. **A backfill contacts nobody**: only the newest published strategy, on or
after `execution.live_from`, approved by a person and not sent before, is dispatched. Keep those Dags unpaused: a paused
one misses the day.
"""

import pendulum
from airflow.sdk import DAG, CronPartitionTimetable
from mktgen_airflow import DEFAULT_ARGS, RECOMPUTE, SHOP_TIMEZONE, source_ends, step

with DAG(
    "marketing_loop",
    doc_md=__doc__,
    schedule=CronPartitionTimetable("0 0 * * *", timezone=SHOP_TIMEZONE, run_offset=-1, key_format="%Y-%m-%d"),
    start_date=pendulum.datetime(2017, 1, 1, tz=SHOP_TIMEZONE),
    end_date=source_ends(),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={"recompute": RECOMPUTE},
    tags=["mktgen", "loop"],
):
    (
        step("ingest")
        >> step("clean")
        >> step("extract_features")
        >> step("train_due")
        >> step("train")
        >> step("validate")
        >> step("promote")
        >> step("train_copywriter")
        >> step("promote_copywriter")
        >> step("forecast_demand")
        >> step("score")
        >> step("warn_churn")
        >> step("segment")
        >> step("recommend")
        >> step("learn_response")
        >> step("promote_response")
        >> step("estimate_response")
        >> step("judge_policy")
        >> step("allocate")
        >> step("explain")
        >> step("learn_wording")
        >> step("write_copy")
        >> step("write_briefs")
        >> step("evaluate_strategy")
        >> step("publish")
    )
