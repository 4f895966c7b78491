"""The best fraud detector as a row of the comparison, where the process that drew the ledger is known."""

import polars as pl

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.simulator import SimulationTruth, fraud_posterior
from panther_pipeline.metrics.fraud import SPLIT

ORACLE = "oracle"
_DECIMALS = 6  # of two payments that are fraud as good as certainly, none is ahead of the other


def score_fraud_oracle(
    fraud_scores: pl.DataFrame, oracle: pl.DataFrame, truth: SimulationTruth | pl.DataFrame
) -> pl.DataFrame:
    """The posterior of fraud of every judged event, as a model named "oracle".

    It assumes knowledge that no model has (`ledger.simulator.fraud_posterior`): a ceiling in expectation, not one that
    can be reached.

    Args:
        fraud_scores: the table of `scoring.scores`.
        oracle: the simulator's state and payment of each transaction; a frame without rows for any other ledger.
        truth: the same simulation's constants.

    Returns:
        Test rows with the columns of `fraud_scores`, rounded to six decimals so that equally certain frauds tie; none
        without an oracle or without scores.

    Raises:
        ConfigurationError: the scores are of other events than the oracle's.
    """
    if fraud_scores.is_empty() or oracle.is_empty() or not isinstance(truth, SimulationTruth):
        return fraud_scores.clear()
    test = fraud_scores.filter(split=SPLIT).unique("row", keep="first", maintain_order=True)
    known = oracle.unique("transaction_id", keep="first", maintain_order=True)
    payments = test.select("event_id", "amount_cents").join(
        known, left_on="event_id", right_on="transaction_id", how="left", maintain_order="left"
    )
    foreign = payments.filter(pl.col("cents").is_null() | (pl.col("cents") != pl.col("amount_cents"))).height
    if foreign:
        raise ConfigurationError(
            f"{foreign} of {test.height} scored test events are no payments of ledger_oracle. The simulation was "
            "changed since they were scored: run all pipelines again with `kedro run`. A ledger that is not simulated "
            "says so: ledger_oracle and ledger_truth of its catalog are of type EmptyTableDataset."
        )
    posterior = pl.Series("score", fraud_posterior(payments, truth)).round(_DECIMALS)
    return test.with_columns(posterior, model=pl.lit(ORACLE), seed=pl.lit(0, pl.Int64))
