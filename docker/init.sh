#!/bin/bash
# Run once before the services start, and harmless when run again.
set -euo pipefail
airflow db migrate
airflow pools set gpu 1 "one training at a time per GPU"
airflow users list | grep -qw admin || airflow users create --username admin --role Admin --firstname Airflow --lastname Admin \
  --email admin@example.invalid --password "$AIRFLOW_ADMIN_PASSWORD"
