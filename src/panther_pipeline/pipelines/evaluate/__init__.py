"""Ranks and scores → metrics, plots and the model card."""

from panther_pipeline.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
