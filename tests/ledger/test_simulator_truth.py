"""The stated distribution is the one that payments follow, and no forecaster beats the best one."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.ledger.simulator import (
    SimulationConfig,
    best_next_tokens,
    category_probs,
    fraud_probs,
    simulate_ledger,
)
from panther_pipeline.ledger.simulator.truth import amount_bin_probs

EDGES = np.array([-3000, 0, 400, 1500, 2500, 3500, 4500, 6500, 20000])


@pytest.fixture(scope="module")
def world():
    """(oracle, truth, category ix, token ids, encode) of the healthy rows."""
    ledger = simulate_ledger(SimulationConfig(num_users=700, start="2024-01-01", end="2024-07-01", seed=8))
    healthy = ledger.oracle["broken_reason"] == ""
    oracle, rows = ledger.oracle.filter(healthy), ledger.transactions.filter(healthy)
    category = index(rows["category"], ledger.truth.categories)
    cents = np.rint(rows["amount"].cast(pl.Float64).to_numpy() * 100).astype(np.int64)
    amount_bin = np.searchsorted(EDGES, cents, side="right")
    return oracle, ledger.truth, category, rows["category"].to_numpy(), rows["channel"].to_numpy(), amount_bin


def index(names: pl.Series | np.ndarray, known: list[str]) -> np.ndarray:
    return pl.Series(names).replace_strict(known, list(range(len(known))), return_dtype=pl.Int64).to_numpy()


def full_token(truth):
    """Every tuple its own token."""

    def encode(category, channel, amount_bin):
        return (index(category, truth.categories) * 10 + index(channel, truth.channels)) * 100 + amount_bin

    return encode


def assert_calibrated(stated: np.ndarray, happened: np.ndarray, num_groups: int = 12) -> None:
    """Frequencies match probabilities: overall within 3 standard errors, in groups of alike rows within 4."""
    order = np.argsort(stated)
    for rows, errors in [(order, 3), *((group, 4) for group in np.array_split(order, num_groups))]:
        se = np.sqrt((stated[rows] * (1 - stated[rows])).sum()) / len(rows)
        assert abs(stated[rows].mean() - happened[rows].mean()) <= errors * se + 1e-9


def test_category_probs_sum_to_one(world):
    probs_NK = category_probs(world[0], world[1])
    assert probs_NK.min() >= 0
    assert np.abs(probs_NK.sum(1) - 1).max() < 1e-9


def test_best_category_comes_as_often_as_stated(world):
    probs_NK = category_probs(world[0], world[1])
    assert_calibrated(probs_NK.max(1), probs_NK.argmax(1) == world[2])


def test_every_category_comes_as_often_as_stated(world):
    probs_NK = category_probs(world[0], world[1])
    for k in range(probs_NK.shape[1]):
        assert_calibrated(probs_NK[:, k], world[2] == k, num_groups=4)


def test_scheduled_payment_comes_as_often_as_stated(world):
    oracle, _, category = world[:3]
    due = oracle["scheduled"].to_numpy()
    # Rent and salary have no other source, so the closed form is tested alone.
    rows = np.isin(due, [world[1].categories.index(n) for n in ("rent", "salary")]) & (oracle["attack"].to_numpy() == 8)
    assert rows.sum() > 2000
    assert_calibrated(oracle["scheduled_prob"].to_numpy()[rows].astype(float), (category == due)[rows])


def test_fraud_comes_as_often_as_stated(world):
    stated = fraud_probs(world[0], world[1])
    assert_calibrated(stated, (world[0]["fraud_kind"] != "").to_numpy(), num_groups=3)


def test_best_token_comes_as_often_as_stated(world):
    oracle, truth, _, *tuple_columns = world
    encode = full_token(truth)
    token, prob = best_next_tokens(oracle, truth, edges_cents=EDGES, encode=encode)
    assert_calibrated(prob, token == encode(*tuple_columns))
    assert 0.3 < prob.mean() < 0.5


def test_best_amount_bin_comes_as_often_as_stated(world):
    # All categories and channels merged into one token: signs, fixed amounts and thieves must add up.
    oracle, truth, *_, amount_bin = world
    token, prob = best_next_tokens(oracle, truth, edges_cents=EDGES, encode=lambda category, channel, bins: bins)
    assert_calibrated(prob, token == amount_bin)


def test_edge_belongs_to_the_upper_bin(world):
    # Bins one cent wide around a user's fixed fee: the point mass has to land where searchsorted puts it.
    oracle, truth = world[:2]
    cents = int(truth.fixed_cents_UK[5, truth.categories.index("subscription")])
    rows = oracle.filter((pl.col("user_ix") == 5) & (pl.col("scheduled") == truth.categories.index("subscription")))
    rows = rows.with_columns(scheduled_prob=pl.lit(1.0, dtype=pl.Float32), attack=pl.lit(8, dtype=pl.UInt8))
    assert rows.height > 0
    token, prob = best_next_tokens(
        rows, truth, edges_cents=np.array([cents, cents + 1]), encode=lambda a, c, bins: bins
    )
    assert set(token) == {1}
    assert prob.min() == pytest.approx(1)


@pytest.mark.parametrize("sign", [1, -1])
def test_amount_bins_match_drawn_amounts(sign):
    edges = np.array([-3000, -2600, -1800, -1, 0, 1, 1800, 2600, 3000])
    mu, sigma, num = np.log(2500), 0.4, 200_000
    cents = sign * np.maximum(np.rint(np.exp(np.random.default_rng(0).normal(mu, sigma, num))), 1)
    drawn_B = np.bincount(np.searchsorted(edges, cents, side="right"), minlength=len(edges) + 1) / num
    stated_B = amount_bin_probs(edges.astype(float), np.float64(mu), np.float64(sigma), np.float64(sign))
    assert stated_B.sum() == pytest.approx(1)
    assert np.abs(stated_B - drawn_B).max() < 4 * np.sqrt(0.25 / num)


def test_merging_all_but_category_gives_category_probs(world):
    oracle, truth = world[:2]
    some = oracle.sample(4000, seed=1)  # any rows in any order
    token, prob = best_next_tokens(
        some, truth, edges_cents=EDGES, encode=lambda category, c, a: index(category, truth.categories)
    )
    probs_NK = category_probs(some, truth)
    assert np.abs(prob - probs_NK.max(1)).max() < 1e-5
    assert (token == probs_NK.argmax(1)).mean() > 0.999  # float32 may break a tie


def test_chunk_size_does_not_matter(world):
    oracle, truth = world[:2]
    some = oracle.filter(pl.col("user_ix") < 20)
    results = [
        best_next_tokens(some, truth, edges_cents=EDGES, encode=full_token(truth), users_per_chunk=n) for n in (3, 100)
    ]
    assert np.array_equal(results[0][0], results[1][0])
    assert np.allclose(results[0][1], results[1][1], atol=1e-6)


def test_no_simple_forecaster_beats_the_best(world):
    oracle, truth, _, *tuple_columns = world
    encode = full_token(truth)
    table = pl.DataFrame({"user": oracle["user_ix"], "token": encode(*tuple_columns)})
    token, _ = best_next_tokens(oracle, truth, edges_cents=EDGES, encode=encode)
    table = table.with_columns(
        pl.Series("best", token),
        pl.col("token").shift(1).over("user").alias("last"),
        pl.col("token").shift(2).over("user").alias("second"),
    )
    past, future = table[: table.height * 2 // 3], table[table.height * 2 // 3 :]
    hits = {"best": (future["best"] == future["token"]).mean()}
    forecasters = {
        "popularity": [],
        "personal": ["user"],
        "markov": ["last"],
        "personal_markov": ["user", "last"],
    }
    for name, keys in {**forecasters, "markov2": ["last", "second"]}.items():
        hits[name] = hit_rate(past, future, keys)
    assert hits.pop("best") > 1.5 * max(hits.values())
    assert hits["popularity"] < 0.12
    assert hits["markov"] > hits["popularity"]


def hit_rate(past: pl.DataFrame, future: pl.DataFrame, keys: list[str]) -> float:
    keys = keys or ["all"]
    past, future = past.with_columns(all=pl.lit(0)), future.with_columns(all=pl.lit(0))
    counts = past.group_by([*keys, "token"]).len().sort("len", "token", descending=True)
    guess = counts.group_by(keys).agg(pl.col("token").first().alias("guess"))
    return future.join(guess, on=keys, how="left", nulls_equal=True)["guess"].eq_missing(future["token"]).mean()
