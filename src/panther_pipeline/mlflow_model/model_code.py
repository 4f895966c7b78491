"""What MLflow runs to get the model, in place of a pickle: the package it names must be installed."""

from mlflow.models import set_model

from panther_pipeline.mlflow_model.model import ScorerModel

set_model(ScorerModel())
