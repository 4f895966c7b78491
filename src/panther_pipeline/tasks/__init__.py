"""Predictions other than the fraud of an event, each by configuration alone."""
