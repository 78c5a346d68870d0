"""## Roll back the response model

*Trigger* > say why, and which version (the day it was learned; empty: the one that served before). From the next day on the
loop's allocation uses that version, and its notes say so, with who asked and why. *Release* lets new versions take over again:
each must pass its checks and must not be shown to be worse than the version that serves.

The answer is kept on S3 beside the versions. It changes no day that was decided already, and there is nothing to backfill:
backfill `marketing_loop` for days from `from` on, where a day is to be decided again. The same in one command:
`python -m mktgen rollback response --why ... [--to DAY] [--release]`.
"""

from airflow.sdk import DAG, Param
from mktgen_airflow import DEFAULT_ARGS, roll_back

DAY = {"type": ["null", "string"], "format": "date"}

with DAG(
    "marketing_rollback",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "why": Param(
            "", type="string", minLength=1, description_md="Kept with it, and shown in the notes of the allocation"
        ),
        "to": Param(None, **DAY, description_md="Day the version was learned; empty: the one that served before"),
        "from": Param(
            None, **DAY, description_md="First partition that it serves; empty: the day after the last decided"
        ),
        "release": Param(False, type="boolean", description_md="Let new versions take over again"),
    },
    tags=["mktgen", "response"],
):
    roll_back()
