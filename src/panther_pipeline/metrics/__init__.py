"""Metrics as pure functions: a statistic per event, then an aggregation with its interval."""
