"""The `ingest` pipeline."""

from panther_pipeline.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
