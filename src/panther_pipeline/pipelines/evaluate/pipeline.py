"""What is measured and shown: a file per subject, each a table of its nodes."""

from kedro.pipeline import Pipeline

from panther_pipeline.pipelines.evaluate.card import create_card_pipeline
from panther_pipeline.pipelines.evaluate.decisions import create_decision_pipeline
from panther_pipeline.pipelines.evaluate.explanations import create_explanation_pipeline
from panther_pipeline.pipelines.evaluate.forecasts import create_forecast_pipeline


def create_pipeline(**kwargs) -> Pipeline:
    """Forecasts and scores against baselines, with intervals, and the page that shows them."""
    return (
        create_forecast_pipeline() + create_decision_pipeline() + create_explanation_pipeline() + create_card_pipeline()
    )
