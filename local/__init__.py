"""The embedded parts on one machine: S3, MLflow and Airflow under a process manager, and the demo that drives them.

    parts.py      where things live: state directory, ports, generated secrets, the environment all parts share
    checks.py     what must hold before a start: tools, disk, ports
    processes.py  supervisord: render its configuration, start, stop, and end what was left behind
    part.py       `python -m local.part NAME -- COMMAND`: one part, started clean after its predecessor was killed
    health.py     wait until every part answers
    up.py down.py `make up`, `make down`
    airflow.py    Airflow's REST API, as a client
    demo.py       `make demo`: history, backfill, approval, feedback
    facts.py      what the demo did, read back from Airflow, the store and MLflow
    summary.py    those facts on one screen

Production needs none of this: there the same parts are somebody's services (docker/).
"""
