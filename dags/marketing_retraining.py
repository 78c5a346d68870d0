"""## Retraining on request

Starts by itself when `marketing_feedback` asks for it; the run has the partition key of the first day that the new models
serve. It cannot be backfilled: backfill `marketing_loop`, and feedback asks again if it must.

The tasks are those of `marketing_loop`: train every kind of model on the same frozen cut, validate, and promote the
challenger only where it wins with a confidence interval; otherwise the champion stays, with the reason in the log.
"""

from airflow.sdk import DAG, IdentityMapper, PartitionedAssetTimetable
from mktgen_airflow import DEFAULT_ARGS, RETRAINING_REQUESTED, step

with DAG(
    "marketing_retraining",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=RETRAINING_REQUESTED, default_partition_mapper=IdentityMapper()),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["mktgen", "training"],
):
    step("train_due") >> step("train") >> step("validate") >> step("promote")
