"""Features + embeddings + labels → fraud head and scores; states + values → next-value heads."""

from panther_pipeline.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
