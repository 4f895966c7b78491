"""`ablation`: token_sequences → a grid of trained variants, compared in one table. Runs only when it is asked for."""

from panther_pipeline.pipelines.ablation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
