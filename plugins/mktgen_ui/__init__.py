"""The strategy pages inside the Airflow UI, for people who read strategies rather than Dags."""
