"""What is predicted from features and embeddings: a file per task, each a table of its nodes."""

from kedro.pipeline import Pipeline

from panther_pipeline.pipelines.finetune.fraud import create_fraud_pipeline
from panther_pipeline.pipelines.finetune.history import create_history_pipeline


def create_pipeline(**kwargs) -> Pipeline:
    """Every task; one whose labels a ledger lacks ends without scores."""
    return create_fraud_pipeline() + create_history_pipeline()
