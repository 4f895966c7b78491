"""What watches a run: guidance before it starts, tracking while it goes."""

from panther_pipeline.hooks.guidance import GuidanceHook
from panther_pipeline.hooks.tracking import TrackingHook

__all__ = ["GuidanceHook", "TrackingHook"]
