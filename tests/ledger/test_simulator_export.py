"""The flaws of the simulated export are the declared ones."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger.simulator import SimulatedLedger, SimulationConfig, simulate_ledger
from panther_pipeline.ledger.simulator.export import BROKEN, format_amounts, format_times


def config(**changes) -> SimulationConfig:
    shares = {"broken_row_share": 0.02, "duplicate_share": 0.01}
    return SimulationConfig(
        **{"num_users": 200, "start": "2024-01-01", "end": "2024-07-01", "seed": 4, **shares, **changes}
    )


@pytest.fixture(scope="module")
def flawed() -> SimulatedLedger:
    return simulate_ledger(config())


def test_declared_share_of_rows_is_broken(flawed):
    reasons = flawed.oracle["broken_reason"]
    rows = (reasons != "duplicate").sum()
    broken = reasons.is_in(list(BROKEN)).sum()
    assert abs(broken / rows - 0.02) < 4 * np.sqrt(0.02 / rows)
    assert set(reasons) == {"", "duplicate", *BROKEN}


def test_broken_rows_hold_what_the_reason_says(flawed):
    for reason, (column, text) in BROKEN.items():
        assert set(flawed.transactions.filter(flawed.oracle["broken_reason"] == reason)[column]) == {text}


def test_duplicates_repeat_the_row_above(flawed):
    at = (flawed.oracle["broken_reason"] == "duplicate").arg_true()
    assert abs(len(at) / flawed.transactions.height - 0.01) < 0.003
    assert flawed.transactions[at].equals(flawed.transactions[at - 1])


def test_healthy_rows_parse_and_have_unique_ids(flawed):
    rows = flawed.transactions.filter(flawed.oracle["broken_reason"] == "")
    assert rows["transaction_id"].is_unique().all()
    assert np.isfinite(rows["amount"].cast(pl.Float64).to_numpy()).all()
    assert rows["booked_at"].str.to_datetime("%Y-%m-%d %H:%M:%S").null_count() == 0
    assert set(rows["is_fraud"]) == {"0", "1"}
    assert (rows != "").select(pl.all_horizontal(pl.all().all())).item()


def test_oracle_row_describes_the_same_row(flawed):
    healthy = flawed.oracle["broken_reason"] != "missing_id"
    assert flawed.oracle.filter(healthy)["transaction_id"].equals(flawed.transactions.filter(healthy)["transaction_id"])
    customers = flawed.transactions.filter(flawed.oracle["broken_reason"] == "")["customer_id"]
    ix = flawed.oracle.filter(flawed.oracle["broken_reason"] == "")["user_ix"]
    assert flawed.profiles["customer_id"].gather(ix).equals(customers)


def test_flawless_ledger_has_no_flaws():
    clean = simulate_ledger(config(num_users=30, broken_row_share=0.0, duplicate_share=0.0))
    assert set(clean.oracle["broken_reason"]) == {""}
    assert clean.transactions["transaction_id"].is_unique().all()


def test_flaws_do_not_change_the_payments_beneath():
    clean = simulate_ledger(config(num_users=30, broken_row_share=0.0, duplicate_share=0.0))
    flawed = simulate_ledger(config(num_users=30))
    healthy = flawed.transactions.filter(flawed.oracle["broken_reason"] == "")
    kept = clean.transactions.join(healthy.select("transaction_id"), on="transaction_id", how="semi")
    assert kept.equals(healthy)


def test_amounts_are_written_with_two_decimals():
    assert format_amounts(np.array([1234, -1234, 5, -5, 100, 0])).to_list() == [
        "12.34",
        "-12.34",
        "0.05",
        "-0.05",
        "1.00",
        "0.00",
    ]


def test_times_are_written_to_the_second():
    leap = SimulationConfig(num_users=1, start="2024-02-28", end="2024-03-10")
    assert format_times(leap, np.array([0, 86400 + 3661, 2 * 86400 - 1])).to_list() == [
        "2024-02-28 00:00:00", "2024-02-29 01:01:01", "2024-02-29 23:59:59",
    ]  # fmt: skip
