"""`pretrain`: token_sequences → backbone, training curves."""

from panther_pipeline.pipelines.pretrain.pipeline import create_pipeline
