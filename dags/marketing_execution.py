"""## Approve and send a day's strategy

Starts by itself when `marketing_loop` publishes a day; the run has that day's partition key. It cannot be backfilled:
backfill `marketing_loop`, and this follows.

1. `is_newest` ends the run here, with the reason in its log, unless the strategy is the newest published one, its day is
   on or after `execution.live_from`, it was not answered before, and no other strategy of its day was begun to be sent.
2. `approve` waits for a person (*Required Actions*, here or in the navigation). It shows who is contacted, what is spent, the
   gates and three messages. To reject, write into *Note* what should change. No answer within 36 hours is a rejection.
3. `record_approval` keeps the answer, who gave it and why, in the day's audit trail and in MLflow. After a rejection nothing
   is sent. It fails where the strategy was published anew meanwhile: answer the newer question.
4. `wait_for_hour` waits for the planned hour where the channel sends at once (e-mail), and passes where it holds messages.
5. `dispatch` sends each message once, whatever is run again. If it failed, clear it: it goes on where it stopped, or, once a
   later day is published, records who was contacted and sends nothing more. "Was changed after it was published": somebody
   edited what was approved; nothing is sent. Find out who, backfill the day in `marketing_loop`, and answer anew.

Several days may wait for their answers side by side.
"""

from airflow.sdk import DAG, IdentityMapper, PartitionedAssetTimetable
from mktgen_airflow import DEFAULT_ARGS, STRATEGY_PUBLISHED, approve, is_newest, record_approval, step, wait_for_hour

with DAG(
    "marketing_execution",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=STRATEGY_PUBLISHED, default_partition_mapper=IdentityMapper()),
    catchup=False,
    # A run that waits for a person counts as active; with 1, an unanswered day would keep the next from being asked.
    max_active_runs=8,
    default_args=DEFAULT_ARGS,
    tags=["mktgen", "execution"],
):
    shown, question = is_newest(), approve()
    shown >> question >> record_approval(shown, question.output) >> wait_for_hour() >> step("dispatch")
