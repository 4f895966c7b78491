"""Raw tables → typed event log."""

import polars as pl

from panther_pipeline.ledger import mapping
from panther_pipeline.ledger.schema import LedgerSchema


def map_transactions(raw_transactions: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """One typed event for each source row, in file order; what cannot be read is marked, not dropped."""
    return mapping.map_events(raw_transactions, schema)


def map_profiles(raw_profiles: pl.DataFrame, schema: LedgerSchema) -> pl.DataFrame:
    """One row per user with the declared attributes; empty when this ledger has no profiles."""
    return mapping.map_profiles(raw_profiles, schema)
