"""The posterior of fraud: as often right as it says, ahead of every other score, exact where it can be worked out."""

import math
import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from panther_pipeline.ledger.simulator import (
    FraudRates,
    SimulationConfig,
    SimulationTruth,
    fraud_posterior,
    fraud_probs,
    maker_posterior,
    simulate_ledger,
)
from panther_pipeline.ledger.simulator import behaviour as b
from panther_pipeline.ledger.simulator.clock import DAY_S, HOUR_S, to_active

MODULE = sys.modules[fraud_posterior.__module__]  # the function of the same name hides it in the package
# Much fraud, so that three months hold enough of every kind.
RATES = FraudRates(
    card_testing_start_prob=0.004, takeover_start_prob=0.004, compromised_merchant_share=0.15, compromised_hit_prob=0.2
)
FEW_SHOPS = 12


@pytest.fixture(scope="module")
def ledger():
    config = SimulationConfig(num_users=250, start="2024-01-01", end="2024-04-01", seed=8, fraud=RATES)
    return simulate_ledger(config)


@pytest.fixture(scope="module")
def posterior_NC(ledger) -> np.ndarray:
    return maker_posterior(ledger.oracle, ledger.truth)


def is_fraud(ledger) -> np.ndarray:
    return (ledger.oracle["fraud_kind"] != "").to_numpy()


def test_posterior_is_a_distribution(ledger, posterior_NC):
    assert posterior_NC.min() >= 0
    np.testing.assert_allclose(posterior_NC.sum(1), 1)
    np.testing.assert_allclose(fraud_posterior(ledger.oracle, ledger.truth), posterior_NC[:, 1:].sum(1))


def test_fraud_happens_as_often_as_stated(ledger, posterior_NC):
    stated, happened = posterior_NC[:, 1:].sum(1), is_fraud(ledger)
    edges = [0, 1e-4, 0.02, 0.3, 0.7, 0.98, 1 - 1e-4]
    groups = [rows for at in range(len(edges)) if len(rows := np.flatnonzero(np.digitize(stated, edges) == at + 1))]
    assert len(groups) == len(edges)
    for rows in [np.arange(len(stated)), *groups]:
        standard_error = math.sqrt((stated[rows] * (1 - stated[rows])).sum()) / len(rows)
        assert abs(stated[rows].mean() - happened[rows].mean()) <= 3.5 * standard_error + 1e-5


@pytest.mark.parametrize("kind", sorted(set(b.FRAUD_KINDS) - {""}))
def test_every_kind_happens_as_often_as_stated(ledger, posterior_NC, kind):
    stated = posterior_NC[:, [code for code, name in enumerate(b.FRAUD_KINDS) if name == kind]].sum(1)
    num = (ledger.oracle["fraud_kind"] == kind).sum()
    assert num > 100
    assert abs(stated.sum() - num) <= 3.5 * math.sqrt((stated * (1 - stated)).sum())


def test_no_other_score_ranks_fraud_better(ledger):
    oracle, truth, fraud = ledger.oracle, ledger.truth, is_fraud(ledger)
    scores = {"before it is seen": fraud_probs(oracle, truth), "amount": np.abs(oracle["cents"].to_numpy())}
    blind = {
        "without its time": {"_thief_time_probs": lambda code, col: 1e-5},
        "without its merchant": {"_merchant_probs": lambda col, truth: (1.0, 1.0)},
        "without its amount": dict.fromkeys(
            ("amount_probs", "_owner_amount_probs", "_leaked_amount_probs"), lambda *values: 1.0
        ),
    }
    for name, parts in blind.items():
        with patch.multiple(MODULE, **parts):
            scores[name] = fraud_posterior(oracle, truth)
    best = average_precision_score(fraud, fraud_posterior(oracle, truth))
    for name, score in scores.items():
        assert average_precision_score(fraud, score) < best, name


def test_oracle_of_another_simulation_is_refused(ledger):
    other = simulate_ledger(SimulationConfig(num_users=250, start="2024-01-01", end="2024-02-01", seed=9))
    with pytest.raises(ValueError, match="one simulation"):
        fraud_posterior(ledger.oracle, other.truth)


def test_no_rows_have_no_posterior(ledger):
    assert fraud_posterior(ledger.oracle.clear(), ledger.truth).shape == (0,)


def columns(previous_s: int, time_s: np.ndarray, **others) -> dict[str, np.ndarray]:
    row = {"previous_s": previous_s, "user_ix": 0, "pattern": 0, "attack": b.QUIET, "due_s": np.inf, **others}
    return {"time_s": time_s, **{name: np.full(len(time_s), value) for name, value in row.items()}}


@pytest.mark.parametrize("hour", [0.5, 3.9, 4.999, 10, 21.9, 22.5, 23.99])
def test_seconds_of_a_takeover_sum_to_one(hour):
    previous_s = 3 * DAY_S + int(hour * HOUR_S)
    col = columns(previous_s, previous_s + np.arange(1, 2 * DAY_S))
    assert MODULE._thief_time_probs(b.TAKEOVER, col).sum() == pytest.approx(1)


@pytest.mark.parametrize("attack", [b.QUIET, 3])
def test_seconds_of_card_tests_sum_to_one(attack):
    col = columns(1000, 1000 + np.arange(1, DAY_S), attack=attack)
    assert MODULE._thief_time_probs(b.TEST_PAYMENT, col).sum() == pytest.approx(1)


@pytest.mark.parametrize("wait_s", [1, 2, 5000, 3 * DAY_S])
def test_seconds_of_the_owner_sum_to_one(wait_s):
    truth = one_user()
    scheduled, own = MODULE._owner_time_probs(
        columns(1000, 1000 + np.arange(1, wait_s + 1), due_s=1000 + wait_s), truth
    )
    assert scheduled.sum() + own.sum() == pytest.approx(1)
    assert (scheduled[:-1] == 0).all()


def test_amounts_sum_to_one_and_keep_their_upper_tail():
    cents = np.arange(-5, 100_000)
    probs = MODULE.amount_probs(cents, np.log(120.0), np.float64(0.4))
    assert probs.sum() == pytest.approx(1)
    assert (probs[cents < 1] == 0).all()
    # 16 standard deviations up, where 1 - ndtr would be 0: the density times one cent.
    z = (math.log(72_221) - math.log(120)) / 0.4
    density = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * 0.4 * 72_221)
    prob = MODULE.amount_probs(np.array([72_221]), np.log(120.0), np.float64(0.4))[0]
    assert prob == pytest.approx(density, rel=1e-3, abs=0)


def one_user() -> SimulationTruth:
    """One user of even tastes who pays by chip, twelve merchants per category, the last one not open yet."""
    opens_s_KM = np.zeros((b.NUM_CATEGORIES, FEW_SHOPS))
    opens_s_KM[:, -1] = 300 * DAY_S
    return SimulationTruth(
        categories=b.CATEGORIES, channels=b.CHANNELS,
        taste_UPK=np.full((1, 3, b.NUM_CATEGORIES), 1 / b.NUM_CATEGORIES, dtype=np.float32),
        routine_weight_U=np.zeros(1), style_U=np.zeros(1, dtype=np.int8), shift_U=np.zeros(1),
        fixed_cents_UK=np.full((1, b.NUM_CATEGORIES), 1000),
        attack_probs=np.array([[0.9, 0.04, 0.01, 0.05]]), compromised_hit_prob=0.25,
        merchant_opens_s=opens_s_KM.ravel(), merchant_leaks=np.zeros(opens_s_KM.size, dtype=bool),
        rate_U=np.array([1.5]), favourites_UKS=np.tile([4, 5, 6, 11], (1, b.NUM_CATEGORIES, 1)),
    )  # fmt: skip


def one_payment(**changes) -> pl.DataFrame:
    """Electronics for 300.00 online at 02:00, an hour and a half after a payment; nothing was due, no card leaked."""
    night_s = 100 * DAY_S + 2 * HOUR_S
    row = {
        "user_ix": 0, "pattern": 0, "routine": 0, "day_part": 0, "scheduled": 255, "scheduled_prob": 0.0, "attack": 0,
        "exposed": 255, "previous_s": night_s - 5400, "due_s": np.inf, "leak_merchant": 0, "time_s": night_s,
        "category": b.IX["electronics"], "channel": b.ONLINE, "cents": 30_000,
        "merchant": b.IX["electronics"] * FEW_SHOPS + 5,
    }  # fmt: skip
    return pl.DataFrame({**row, **changes})


def normal_prob(cents: int, median_cents: float, sigma: float) -> float:
    low, high = ((math.log(c / median_cents) / sigma) / math.sqrt(2) for c in (cents - 0.5, cents + 0.5))
    return (math.erf(high) - math.erf(low)) / 2


def owner_second(payment: pl.DataFrame, rate: float = 1.5) -> float:
    previous_s, time_s = payment["previous_s"][0], payment["time_s"][0]
    since, start, end = to_active(np.array([previous_s, time_s, time_s + 1], dtype=float))
    return math.exp(-rate * (start - since)) - math.exp(-rate * (end - since))


def test_hand_made_payment_at_night_is_exact():
    payment = one_payment()
    # The first favourite is closed until day 300 where it is the fourth: its share goes to the first.
    own = 0.9 * owner_second(payment) / b.NUM_CATEGORIES * 0.02 * normal_prob(30_000, 21_000, 0.6)
    own *= 0.94 * 0.23 + 0.06 / 11
    large = 0.0  # a large payment comes within minutes of a test, and no first one after 50 minutes
    takeover = 0.05 / 7200 * 0.3 / 11 * normal_prob(30_000, 14_000, 0.6)
    expected = takeover / (own + large + takeover)
    assert fraud_posterior(payment, one_user())[0] == pytest.approx(expected, rel=1e-6)


def test_hand_made_payment_at_a_leaking_merchant_is_exact():
    shop = b.IX["clothing"] * FEW_SHOPS + 4
    noon_s = 100 * DAY_S + 12 * HOUR_S
    payment = one_payment(
        category=b.IX["clothing"], channel=0, cents=12_000, merchant=shop, exposed=b.IX["clothing"], leak_merchant=shop,
        time_s=noon_s, previous_s=noon_s - 5400,
    )  # fmt: skip
    favourite = 0.94 * (0.55 + 0.12) + 0.06 / 11
    own = 0.75 / b.NUM_CATEGORIES * normal_prob(12_000, 5_500, 0.5) * favourite
    leaked = 0.25 * normal_prob(12_000, 5_500 * math.exp(0.8), 0.35)
    assert maker_posterior(payment, one_user())[0, b.COMPROMISED] == pytest.approx(leaked / (own + leaked), rel=1e-6)
    elsewhere = payment.with_columns(merchant=pl.lit(shop + 1))
    assert fraud_posterior(elsewhere, one_user())[0] == 0


def test_scheduled_payment_on_its_second_is_the_owners():
    truth = replace(one_user(), attack_probs=np.array([[0.5, 0.0, 0.0, 0.5]]))
    due_s = 100 * DAY_S + 2 * HOUR_S
    cash = {"category": b.IX["cash"], "merchant": b.IX["cash"] * FEW_SHOPS + 4, "channel": b.CHANNELS.index("atm")}
    payment = one_payment(**cash, cents=1000, due_s=float(due_s), scheduled=cash["category"], scheduled_prob=0.5)
    assert fraud_posterior(payment, truth)[0] == 0
    online = payment.with_columns(channel=pl.lit(b.ONLINE))  # the owner takes cash from a machine, a thief does not
    assert fraud_posterior(online, truth)[0] == 1
