"""What the simulated ledger contains: habits, frauds, newcomers, merchants."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from panther_pipeline.ledger.simulator import FraudRates, SimulatedLedger, SimulationConfig, simulate_ledger
from panther_pipeline.ledger.simulator import ledger as ledger_module
from panther_pipeline.ledger.simulator.clock import DAY_S, from_active, to_active

START, END, DAYS = "2024-01-01", "2024-07-01", 182


def config(**changes) -> SimulationConfig:
    return SimulationConfig(**{"num_users": 600, "start": START, "end": END, "seed": 3, **changes})


@pytest.fixture(scope="module")
def simulated() -> SimulatedLedger:
    return simulate_ledger(config())


@pytest.fixture(scope="module")
def payments(simulated) -> pl.DataFrame:
    """Healthy rows with typed columns and the truth beside them, by user and time."""
    truth = simulated.oracle.select("fraud_kind", "broken_reason", "user_ix")
    return (
        pl.concat([simulated.transactions, truth], how="horizontal")
        .filter(pl.col("broken_reason") == "")
        .with_columns(
            pl.col("booked_at").str.to_datetime("%Y-%m-%d %H:%M:%S"),
            pl.col("amount").cast(pl.Float64),
            pl.col("merchant_id").str.slice(1).cast(pl.Int64).alias("merchant"),
        )
        .sort("user_ix", "booked_at", "transaction_id")
    )


@pytest.fixture(scope="module")
def honest(payments) -> pl.DataFrame:
    return payments.filter(pl.col("is_fraud") == "0")


def csv(table: pl.DataFrame) -> str:
    return table.write_csv()


def test_same_seed_gives_the_same_bytes():
    first, second = simulate_ledger(config(num_users=40)), simulate_ledger(config(num_users=40))
    assert csv(first.transactions) == csv(second.transactions)
    assert csv(first.profiles) == csv(second.profiles)
    assert first.oracle.equals(second.oracle)


def test_other_seed_gives_another_ledger():
    first, second = (simulate_ledger(config(num_users=40, seed=seed)) for seed in (1, 2))
    assert csv(first.transactions) != csv(second.transactions)
    assert not np.isin(first.truth.shift_U, second.truth.shift_U).any()  # other people, not only other flaws


def test_transactions_are_text_in_order_of_booking(simulated):
    columns = [
        "transaction_id",
        "customer_id",
        "booked_at",
        "amount",
        "currency",
        "category",
        "channel",
        "merchant_id",
    ]
    assert simulated.transactions.columns == [*columns, "is_fraud"]
    assert set(simulated.transactions.dtypes) == {pl.Utf8}
    healthy = simulated.transactions.filter(simulated.oracle["broken_reason"] == "")
    assert healthy["booked_at"].is_sorted()
    assert healthy["booked_at"].min() >= START
    assert healthy["booked_at"].max() < END


def test_every_customer_has_one_profile(simulated):
    profiles = simulated.profiles
    assert profiles.columns == ["customer_id", "age_band", "region", "card_brand", "income_band"]
    assert profiles["customer_id"].n_unique() == profiles.height == 600
    assert set(simulated.transactions["customer_id"]) - {""} <= set(profiles["customer_id"])


@pytest.mark.parametrize("wanted", [15.0, 26.0, 60.0])
def test_event_count_follows_the_wanted_mean(wanted):
    table = simulate_ledger(config(num_users=150, mean_events_per_month=wanted, cold_start_share=0.0)).transactions
    assert table.height / 150 / DAYS * 30 == pytest.approx(wanted, rel=0.15)


def test_blocks_of_users_join_into_one_ledger(monkeypatch):
    monkeypatch.setattr(ledger_module, "BLOCK_USERS", 16)
    ledger = simulate_ledger(config(num_users=50, broken_row_share=0.0, duplicate_share=0.0))
    assert ledger.transactions["customer_id"].n_unique() == 50
    assert ledger.transactions["transaction_id"].is_unique().all()
    assert ledger.truth.taste_UPK.shape[0] == 50
    assert ledger.oracle["user_ix"].max() == 49


def test_single_user_ledger_works():
    assert simulate_ledger(config(num_users=1)).transactions.height > 20


# --- habits ----------------------------------------------------------------------------------------


def test_rent_and_salary_fall_on_their_days(honest):
    for category, day in (("rent", 1), ("salary", 25)):
        rows = honest.filter(pl.col("category") == category)
        assert rows.height > 1000
        assert set(rows["booked_at"].dt.day()) == {day}
        assert rows.group_by("user_ix").agg(pl.col("amount").n_unique())["amount"].max() == 1


def test_salary_arrives_every_month(honest):
    early = (
        honest.group_by("user_ix")
        .agg(pl.col("booked_at").min())
        .filter(pl.col("booked_at").dt.date() < pl.date(2024, 1, 10))
    )
    months = honest.filter(pl.col("category") == "salary").group_by("user_ix").len().join(early, on="user_ix")["len"]
    assert (months >= 6).mean() > 0.95  # a broken row is missing here now and then
    assert months.max() == 6


def test_fees_fall_on_a_personal_day(honest):
    days = (
        honest.filter(pl.col("category") == "subscription")
        .group_by("user_ix")
        .agg(pl.col("booked_at").dt.day().n_unique())
    )
    assert days["booked_at"].max() == 1
    assert honest.filter(pl.col("category") == "subscription")["booked_at"].dt.day().n_unique() > 15


def test_weekly_groceries_keep_weekday_and_hour(honest):
    groceries = honest.filter(pl.col("category") == "groceries")
    slots = groceries.group_by(
        "user_ix", pl.col("booked_at").dt.weekday().alias("weekday"), pl.col("booked_at").dt.time()
    ).len()
    most = slots.group_by("user_ix").agg(pl.col("len").max())["len"]
    assert (most >= 24).mean() == pytest.approx(0.85 * 0.9, abs=0.06)  # has the habit, account not new
    assert most.max() == 26


def test_way_out_is_followed_by_way_back(honest):
    own = honest.filter(~pl.col("category").is_in(["rent", "salary", "subscription", "groceries"]))
    after = own.with_columns(pl.col("category").shift(-1).over("user_ix").alias("next")).drop_nulls("next")
    rate = {
        c: after.filter(pl.col("category") == c)["next"].eq("transport").mean() for c in ("transport", "restaurant")
    }
    assert rate["transport"] > 3 * rate["restaurant"]


def test_refund_follows_online_shopping(honest):
    before = honest.with_columns(pl.col("category").shift(1).over("user_ix").alias("before")).drop_nulls("before")
    refunds = before.filter(pl.col("category") == "refund")
    assert refunds["amount"].max() < 0
    assert (refunds["before"] == "online_shopping").mean() > 0.5


def test_hotels_are_paid_abroad_between_journeys(honest):
    hotels = honest.filter(pl.col("category") == "hotel")
    assert hotels.height > 50
    assert (hotels["currency"] != "EUR").all()
    assert (honest["currency"] != "EUR").mean() < 0.1


def test_spree_shortens_the_gap(honest):
    gaps = honest.with_columns(
        (pl.col("booked_at").shift(-1).over("user_ix") - pl.col("booked_at")).dt.total_minutes().alias("gap")
    )
    median = gaps.group_by("category").agg(pl.col("gap").median())
    minutes = dict(median.iter_rows())
    assert minutes["clothing"] * 3 < minutes["fuel"]


def test_people_sleep(honest):
    hours = honest["booked_at"].dt.hour()
    assert (hours < 5).mean() < 0.04


def test_profile_carries_information(simulated, honest):
    table = honest.join(simulated.profiles, on="customer_id").with_columns(pl.col("user_ix").mod(2).alias("parity"))

    def shares(column: str, value: object) -> np.ndarray:
        rows = table.filter(pl.col(column) == value)["category"]
        return np.array([(rows == name).mean() for name in simulated.truth.categories])

    by_age = np.abs(shares("age_band", "18-24") - shares("age_band", "65+")).sum() / 2
    by_chance = np.abs(shares("parity", 0) - shares("parity", 1)).sum() / 2
    assert by_age > 0.25
    assert by_age > 4 * by_chance


def test_taste_depends_on_age(simulated):
    taste_UK = simulated.truth.taste_UPK.mean(1)
    age = simulated.profiles["age_band"].to_numpy()
    for category, more, less in (("children", "35-49", "65+"), ("cinema", "18-24", "65+")):
        k = simulated.truth.categories.index(category)
        assert taste_UK[age == more, k].mean() > 2 * taste_UK[age == less, k].mean()


def test_routine_waits_until_it_is_followed():
    ledger = simulate_ledger(config(num_users=80, broken_row_share=0.0, duplicate_share=0.0))
    names = pl.Series(ledger.truth.categories)
    rows = ledger.oracle.select("user_ix", "fraud_kind", names.gather(ledger.oracle["routine"]).alias("expected"))
    rows = rows.with_columns(ledger.transactions["category"], moved=pl.col("expected").shift(-1).over("user_ix"))
    moved = rows.drop_nulls("moved").filter(pl.col("moved") != pl.col("expected"))
    assert moved.height > 2000
    assert (moved["category"] == moved["expected"]).all()
    assert (moved["fraud_kind"] == "").all()


def test_newcomers_open_in_the_last_two_months(simulated, honest):
    first = honest.group_by("user_ix").agg(pl.col("booked_at").min())["booked_at"].dt.date()
    late = first >= pl.Series([END]).str.to_date().dt.offset_by("-60d")[0]
    assert late.mean() == pytest.approx(0.1, abs=0.04)
    assert (first.filter(~late) < pl.Series([START]).str.to_date().dt.offset_by("21d")[0]).mean() > 0.98


def test_merchants_are_not_used_before_they_open(simulated, payments):
    seconds = (payments["booked_at"] - pl.Series([START]).str.to_datetime("%Y-%m-%d")[0]).dt.total_seconds().to_numpy()
    opens_s = simulated.truth.merchant_opens_s[payments["merchant"].to_numpy()]
    assert (seconds >= opens_s).all()
    assert (opens_s > 0).mean() > 0.05  # new ones do find customers


# --- fraud -----------------------------------------------------------------------------------------


def test_fraud_is_about_one_percent_and_of_three_kinds(simulated):
    table = simulate_ledger(config(num_users=2500, seed=11)).oracle
    share = dict(table["fraud_kind"].value_counts(normalize=True).iter_rows())
    assert 0.006 < 1 - share[""] < 0.013
    assert min(share[k] for k in ("card_testing", "account_takeover", "compromised_merchant")) > 0.001


def test_label_tells_fraud(payments):
    assert ((payments["is_fraud"] == "1") == (payments["fraud_kind"] != "")).all()


def test_card_testing_is_tiny_payments_then_a_large_one(simulated):
    # Flawless, so that no test payment is missing from the runs.
    ledger = simulate_ledger(config(broken_row_share=0.0, duplicate_share=0.0))
    rows = pl.concat([ledger.transactions, ledger.oracle.select("fraud_kind", "user_ix")], how="horizontal")
    rows = rows.filter(pl.col("fraud_kind") == "card_testing").with_columns(
        pl.col("amount").cast(pl.Float64), pl.col("booked_at").str.to_datetime("%Y-%m-%d %H:%M:%S")
    )
    assert set(rows["channel"]) == {"online"}
    runs = []
    for _, user in rows.group_by("user_ix"):
        tests: list = []
        for amount, at in user.sort("booked_at").select("amount", "booked_at").iter_rows():
            if amount < 20:
                tests.append(at)
            else:
                assert amount > 60
                runs.append((len(tests), (at - tests[0]).total_seconds()))
                tests = []
    assert len(runs) > 20
    assert {length for length, _ in runs} == {3, 4, 5, 6}
    assert np.median([seconds for _, seconds in runs]) < 3600


def test_compromised_merchant_charges_its_own_customers_more(simulated, payments):
    hits = payments.filter(pl.col("fraud_kind") == "compromised_merchant")
    assert hits.height > 50
    assert simulated.truth.merchant_leaks[hits["merchant"].to_numpy()].all()
    usual = payments.filter(pl.col("is_fraud") == "0").group_by("user_ix", "merchant").agg(
        pl.col("booked_at").min().alias("first"), pl.col("amount").median().alias("usual")
    )  # fmt: skip
    both = hits.join(usual, on=["user_ix", "merchant"], how="left")
    assert (both["first"] < both["booked_at"]).mean() > 0.98  # rows missing here are broken ones
    assert 1.5 < (both["amount"] / both["usual"]).median() < 4


def test_takeover_spends_at_night(payments):
    stolen = payments.filter(pl.col("fraud_kind") == "account_takeover")
    assert stolen.height > 50
    assert stolen["booked_at"].dt.hour().max() < 5
    assert stolen["category"].eq("gift_cards").mean() > 10 * payments["category"].eq("gift_cards").mean()


def test_no_fraud_when_its_rates_are_zero():
    calm = FraudRates(card_testing_start_prob=0.0, takeover_start_prob=0.0, compromised_merchant_share=0.0)
    assert set(simulate_ledger(config(num_users=100, fraud=calm)).oracle["fraud_kind"]) == {""}


# --- parameters and clock --------------------------------------------------------------------------


def test_config_reports_all_problems_at_once():
    with pytest.raises(ValidationError) as caught:
        config(start="soon", end="later", broken_row_share=0.4, duplicate_share=0.4)
    assert all(text in str(caught.value) for text in ("start 'soon'", "end 'later'", "at most 0.5"))


def test_config_refuses_an_empty_period():
    with pytest.raises(ValidationError, match="at least 7 days after"):
        config(end=START)


def test_active_time_inverts():
    times_s = np.random.default_rng(0).integers(0, 400 * DAY_S, 5000).astype(float)
    assert np.abs(from_active(to_active(times_s)) - times_s).max() <= 1
    assert to_active(np.array([np.inf]))[0] == np.inf
