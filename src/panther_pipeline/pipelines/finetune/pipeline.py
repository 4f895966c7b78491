"""What is predicted from features and embeddings: a file per task, each a table of its nodes."""

from kedro.pipeline import Pipeline

from panther_pipeline.pipelines.finetune.fraud import create_fraud_pipeline
from panther_pipeline.pipelines.finetune.history import create_history_pipeline
from panther_pipeline.pipelines.finetune.merchant_risk import create_merchant_risk_pipeline
from panther_pipeline.pipelines.finetune.next_value import create_next_value_pipeline
from panther_pipeline.pipelines.finetune.tuning import create_tuning_pipeline
from panther_pipeline.pipelines.finetune.user_label import create_user_label_pipeline


def create_pipeline(**kwargs) -> Pipeline:
    """Every task; one whose labels a ledger lacks ends without scores."""
    return (
        create_fraud_pipeline()
        + create_history_pipeline()
        + create_tuning_pipeline()
        + create_user_label_pipeline()
        + create_next_value_pipeline()
        + create_merchant_risk_pipeline()
    )
