"""Backbone and histories → as-of embeddings and the online store."""

from panther_pipeline.pipelines.embed.pipeline import create_pipeline

__all__ = ["create_pipeline"]
