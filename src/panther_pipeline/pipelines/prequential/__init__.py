"""`prequential`: heads refitted week after week, judged on the week that follows. Runs only when it is asked for."""

from panther_pipeline.pipelines.prequential.pipeline import create_pipeline

__all__ = ["create_pipeline"]
