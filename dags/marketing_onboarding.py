"""## Bring in history

*Trigger* > choose a source and a range of days. Writes the same day artefacts as `marketing_loop` does, in one
streaming pass; days that are there already stay as they are. Decides nothing and contacts nobody.

Do this once before the first day of `marketing_loop`: its features and models need what went before.
"""

from airflow.sdk import DAG, Param
from mktgen_airflow import DEFAULT_ARGS, SOURCES, onboard

with DAG(
    "marketing_onboarding",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "source": Param(SOURCES[0], type="string", enum=SOURCES, description_md="A file in `mktgen/sources/`"),
        "from": Param("2017-01-01", type="string", format="date", description_md="First business day, included"),
        "to": Param("2017-09-30", type="string", format="date", description_md="Last business day, included"),
    },
    tags=["mktgen", "onboarding"],
):
    onboard()
