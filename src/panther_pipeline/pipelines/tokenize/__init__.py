"""Tokenize: valid events → fitted tokenizer, token sequences, vocabulary and coverage report."""

from panther_pipeline.pipelines.tokenize.pipeline import create_pipeline

__all__ = ["create_pipeline"]
