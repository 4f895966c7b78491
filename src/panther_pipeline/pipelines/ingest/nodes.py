"""Raw tables → typed event log."""

from typing import Any

import polars as pl

from panther_pipeline.ledger import mapping, profiles
from panther_pipeline.ledger.schema import LedgerSchema


def map_transactions(raw_transactions: Any, schema: LedgerSchema) -> tuple[pl.LazyFrame, dict[str, Any]]:
    """One typed event for each source row, in file order; what cannot be read is marked, not dropped.

    The table is read while it is saved, and only then is the second output, the account of its lines, complete.
    """
    return mapping.map_events(raw_transactions, schema)


def map_profiles(raw_profiles: Any, schema: LedgerSchema) -> pl.DataFrame:
    """One row per user with the declared attributes; empty when this ledger has no profiles."""
    return profiles.map_profiles(raw_profiles, schema)


def map_user_labels(raw_user_labels: Any, schema: LedgerSchema) -> pl.DataFrame:
    """Labels of users as of a date; empty when this ledger has none."""
    return profiles.map_user_labels(raw_user_labels, schema)
