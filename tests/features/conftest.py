"""Small ledgers with ties, gaps and unknown values."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from panther_pipeline.features.activity import CounterpartyActivity, UserActivity, add_event
from panther_pipeline.features.config import ActivityConfig, FeatureConfig
from panther_pipeline.features.event import OnlineEvent, read_events
from panther_pipeline.units import DAY_US

# A loaded machine is no fault of the code under test.
settings.register_profile("features", deadline=None)
settings.load_profile("features")

START = datetime(2024, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
ATTRIBUTES = ["channel"]
# Windows that are short beside the 40 days of a drawn history: much of it is summed up.
ACTIVITY = ActivityConfig(
    features=FeatureConfig(
        windows_days=[1, 7],
        risk_windows_days=[2, 10],
        novelty=None,
        time_zone="America/Sao_Paulo",
        night_start_hour=22,
        night_end_hour=6,
    ),
    attributes=tuple(ATTRIBUTES),
    lateness_days=2,
)
LATENESS_US = ACTIVITY.lateness_us
DRAWN_EVENT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("ab"),
        # Whole days among them, so that events tie and lie on the borders of windows.
        "hours": st.one_of(st.integers(0, 40 * 24), st.integers(0, 40).map(lambda day: 24 * day)),
        "amount_cents": st.one_of(
            st.none(), st.just(1000), st.integers(-10_000, 500_000), st.integers(-(2**55), 2**55)
        ),
        "channel": st.sampled_from(["shop", "online", "(missing)", None]),
        "counterparty": st.sampled_from([None, "m1", "m2"]),
        "label": st.sampled_from([None, 0, 0, 1]),
        "delay": st.one_of(st.none(), st.integers(-24, 300)),  # hours until the label is known; before its event, even
    }
)
DRAWN_HISTORY = st.lists(DRAWN_EVENT, min_size=1, max_size=40)


def make_table(drawn: list[dict]) -> pl.DataFrame:
    """A ledger of what was drawn; event ids are numbers that are not in the order of time."""
    times = [START + timedelta(hours=e["hours"]) for e in drawn]
    known = [None if e["delay"] is None else t + timedelta(hours=e["delay"]) for t, e in zip(times, drawn, strict=True)]
    moment = pl.Datetime("us", "UTC")
    columns = {
        "user_id": pl.String, "amount_cents": pl.Int64, "channel": pl.String, "counterparty": pl.String,
        "label": pl.Int8,
    }  # fmt: skip
    return pl.DataFrame(
        {
            "event_id": [f"{(7 * ix) % 101}" for ix in range(len(drawn))],
            "event_time": pl.Series(times, dtype=moment),
            "label_time": pl.Series(known, dtype=moment),
            **{name: pl.Series([e[name] for e in drawn], dtype=kind) for name, kind in columns.items()},
        }
    )


class States:
    """The states of everybody, as a store would hold them."""

    def __init__(self, config: ActivityConfig = ACTIVITY) -> None:
        self.config = config
        self.users: dict[str, UserActivity] = {}
        self.counterparties: dict[str, CounterpartyActivity] = {}

    def of(self, event: OnlineEvent) -> tuple[UserActivity, CounterpartyActivity | None]:
        user = self.users.get(event.user_id, UserActivity.empty(self.config))
        if event.counterparty is None:
            return user, None
        return user, self.counterparties.get(event.counterparty, CounterpartyActivity.empty(self.config))

    def add(self, event: OnlineEvent) -> None:
        user, counterparty = add_event(event, *self.of(event))
        self.users[event.user_id] = user
        if counterparty is not None:
            self.counterparties[event.counterparty] = counterparty

    def pack(self) -> dict[tuple[str, str], bytes]:
        sides = {"user": self.users, "counterparty": self.counterparties}
        return {(side, name): state.pack() for side, states in sides.items() for name, state in states.items()}


def read_in_time_order(table: pl.DataFrame) -> list[OnlineEvent]:
    return list(read_events(table.sort("event_time"), ATTRIBUTES))


def add_all(events: list[OnlineEvent], config: ActivityConfig = ACTIVITY) -> States:
    states = States(config)
    for event in events:
        states.add(event)
    return states


def make_event(day: float, **changes) -> OnlineEvent:
    """An event of user a at m1, so many days after the start."""
    values = {
        "user_id": "a", "event_id": f"at {day}", "time_us": START_US + round(day * DAY_US), "amount_cents": 100,
        "counterparty": "m1", "attributes": {"channel": "shop"},
    }  # fmt: skip
    return OnlineEvent(**{**values, **changes})


@pytest.fixture(scope="session")
def config() -> FeatureConfig:
    return FeatureConfig(
        windows_days=[1, 7],
        risk_windows_days=[2, 30],
        novelty=None,
        time_zone="UTC",
        night_start_hour=22,
        night_end_hour=6,
    )


def make_ledger(seed: int, num: int = 60, known_after_hours: int = 30) -> pl.DataFrame:
    """A random ledger: instants coincide, also on whole days (window borders), and values are missing."""
    rng = np.random.default_rng(seed)
    hours = rng.integers(0, 24 * 12, num) // rng.choice([1, 24], num) * rng.choice([1, 24], num)
    times = [START + timedelta(hours=int(hour % (24 * 12))) for hour in hours]
    labels = [None if x < 0.2 else int(x < 0.5) for x in rng.random(num)]
    known = [
        t + timedelta(hours=int(rng.integers(0, known_after_hours))) if label is not None else None
        for t, label in zip(times, labels, strict=True)
    ]
    return pl.DataFrame(
        {
            "user_id": rng.choice(["u1", "u2", "u3", "u4"], num),
            "event_id": [f"e{i}" for i in range(num)],
            "event_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "amount_cents": [None if x < -900 else int(x) for x in rng.integers(-1000, 5000, num)],
            "channel": rng.choice(["shop", "online", "(missing)"], num),
            "counterparty": [None if x == 0 else f"m{x}" for x in rng.integers(0, 5, num)],
            "label": pl.Series(labels, dtype=pl.Int8),
            "label_time": pl.Series(known, dtype=pl.Datetime("us", "UTC")),
        }
    ).sort("user_id", "event_time")
