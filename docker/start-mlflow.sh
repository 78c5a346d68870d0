#!/bin/bash
# MLflow with logins. Its login database is named in a file only, so the file is made here, from the environment.
set -euo pipefail
umask 077
export MLFLOW_AUTH_CONFIG_PATH=/tmp/auth.ini
printf '%s\n' '[mlflow]' 'default_permission = READ' 'admin_username = admin' \
  "database_uri = ${MLFLOW_AUTH_DATABASE_URI//%/%%}" \
  'authorization_function = mlflow.server.auth:authenticate_request_basic_auth' > "$MLFLOW_AUTH_CONFIG_PATH"
mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"
exec mlflow server --host 0.0.0.0 --port 5000 --workers 2 --app-name basic-auth \
  --allowed-hosts "$MLFLOW_ALLOWED_HOSTS" --artifacts-destination "s3://${MKTGEN_S3_BUCKET}/mlflow"
