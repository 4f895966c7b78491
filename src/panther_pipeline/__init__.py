"""panther_pipeline: from a payment ledger to a behaviour model."""

import os

__version__ = "0.1.0"

# Offline by nature: no library of ours or below us may phone home (Kedro, MLflow, Great Expectations).
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
