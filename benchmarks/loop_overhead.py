"""What Airflow costs: a loop run's wall time over its tasks' time and over the work of its steps, from a running instance.

    python benchmarks/loop_overhead.py [--home .mktgen] [--from 2017-10-01] [--to 2017-10-03] [--json FILE]

wall: of the Dag run. tasks: sum of the tasks' durations (process start, imports, API calls included). work: sum of the
seconds that the steps themselves report. The newest run of each day is taken.
"""

from __future__ import annotations

import argparse
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from local import parts
from local.airflow import Airflow, Run

LOOP = "marketing_loop"


def measure(airflow: Airflow, run: Run) -> dict[str, Any]:
    tasks = [task for task in airflow.tasks(run) if task.state == "success"]
    work = 0.0
    for task in tasks:
        path = f"/dags/{LOOP}/dagRuns/{run.run_id}/taskInstances/{task.task_id}/xcomEntries/return_value"
        work += float(airflow.call("GET", path, params={"deserialize": True})["value"]["seconds"])
    spent = sum(task.seconds for task in tasks)
    return {
        "day": run.partition,
        "tasks": len(tasks),
        "wall_s": round(run.seconds, 1),
        "tasks_s": round(spent, 1),
        "work_s": round(work, 1),
        "wall_over_tasks": round(run.seconds / spent, 2),
        "wall_over_work": round(run.seconds / work, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2017, 10, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2017, 10, 3))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    instance = parts.load(arguments.home, recorded_only=True)
    wanted = {arguments.first + timedelta(days=n) for n in range((arguments.last - arguments.first).days + 1)}
    with Airflow.connect(instance) as airflow:
        newest = {run.partition: run for run in airflow.runs(LOOP) if date.fromisoformat(run.partition) in wanted}
        rows = [measure(airflow, newest[day]) for day in sorted(newest)]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
