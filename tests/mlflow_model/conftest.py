"""The scorer of the finished run as a saved model, and its events as a frame."""

from dataclasses import replace

import pandas as pd
import pytest

from panther_pipeline.mlflow_model.save import save_scorer
from panther_pipeline.units import DAY_US


@pytest.fixture(scope="session")
def saved_model(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow_model") / "scorer"
    save_scorer(finished_run.artifacts, folder)
    return folder


@pytest.fixture(scope="session")
def sent_events(finished_run):
    """50 events: some that the store holds, some after all it knows, one of strangers with a category never seen."""
    known = finished_run.events_from("2024-12-30")[1][:30]
    later = [replace(event, event_id=f"{event.event_id}-later", time_us=event.time_us + 3 * DAY_US) for event in known]
    strange = {name: "never seen" for name in known[0].attributes}
    stranger = replace(later[0], user_id="nobody", counterparty=None, amount_cents=-1, attributes=strange)
    events = [*known, *later[:19], stranger]
    return [replace(event, label=None, label_time_us=None) for event in events]


@pytest.fixture(scope="session")
def to_frame():
    """Events as somebody would send them: texts."""

    def write(events) -> pd.DataFrame:
        times = pd.to_datetime([event.time_us for event in events], unit="us", utc=True)
        rows = [
            {
                "user_id": event.user_id,
                "event_id": event.event_id,
                "event_time": time.isoformat(),
                "amount": f"{'-' if event.amount_cents < 0 else ''}{abs(event.amount_cents) // 100}"
                f".{abs(event.amount_cents) % 100:02d}",
                "counterparty": event.counterparty,
                **event.attributes,
            }
            for event, time in zip(events, times, strict=True)
        ]
        return pd.DataFrame(rows)

    return write
