"""Which frauds of the Handbook's test week could be known at all: `python benchmarks/handbook_ceiling.py FOLDER`.

    kedro run --env=handbook --params=data_root=FOLDER      # FOLDER/fraud_handbook/transactions.parquet

The Handbook's simulator draws three kinds of fraud: (1) any amount above 220; (2) every payment at a terminal during
the 28 days in which it is compromised, whatever the amount; (3) a third of a customer's payments during 14 days, with
five times the amount. Nothing but a known earlier fraud at the same terminal tells a payment of the second kind from
others: those without one in the 28 days before cannot be found. Prints, by kind, the frauds of the test week, those
that could be known, and what each model finds among as many alerts as there are frauds; writes
benchmarks/results/handbook_ceiling_<machine>.json.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from common import ROOT, write_result

COMPROMISED_DAYS = 28
KINDS = {1: "amount", 2: "terminal", 3: "customer"}


def main() -> None:
    source = Path(sys.argv[1]) / "fraud_handbook" / "transactions.parquet"
    kinds = pl.scan_parquet(source).select(event_id=pl.col("TRANSACTION_ID").cast(pl.String), kind="TX_FRAUD_SCENARIO")
    features = pl.scan_parquet(ROOT / "data/04_feature/handbook/event_features.parquet")
    since = pl.col("counterparty_log_s_since_known_fraud")
    days_since = pl.when(since >= 0).then(since.exp() - 1) / 86_400
    scores = (
        pl.scan_parquet(ROOT / "data/07_model_output/handbook/fraud_scores.parquet")
        .filter(split="test")
        .join(kinds, on="event_id")
        .join(features.select("event_id", days_since=days_since), on="event_id")
        .collect()
    )
    # Frauds of the third kind are known by their amounts; that every one can be is generous.
    can_be_known = (pl.col("kind") != 2) | (pl.col("days_since") < COMPROMISED_DAYS).fill_null(False)
    first = scores.filter(model=scores["model"][0], seed=scores["seed"][0])
    frauds = first.filter(label=1)
    record = {
        "rows": first.height,
        "frauds": {name: frauds.filter(kind=kind).height for kind, name in KINDS.items()},
        "can_be_known": {name: frauds.filter(can_be_known, kind=kind).height for kind, name in KINDS.items()},
        "highest_recall": round(frauds.filter(can_be_known).height / frauds.height, 4),
        "found": {model: _found(table, frauds.height) for (model,), table in scores.group_by("model")},
    }
    write_result("handbook_ceiling", record)


def _found(scores: pl.DataFrame, num_alerts: int) -> dict[str, float]:
    """Frauds of each kind among the highest scores, mean over seeds."""
    tops = [table.sort("score", descending=True)[:num_alerts] for _, table in scores.group_by("seed")]
    return {
        name: round(float(np.mean([top.filter(kind=kind).height for top in tops])), 1) for kind, name in KINDS.items()
    }


if __name__ == "__main__":
    main()
