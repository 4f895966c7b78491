"""P28: the score of an event that arrives is the score the batch run gave it, and so is all it rests on.

Events of the test period, calibration events before them, cold users among them, and unseen categories (which the
batch run sees as it does online: the same tokenizer) are replayed in order of time: scored, then taken in. The batch
run's tables say what must come out: in process of the inputs too, and over HTTP of what a service answers.
"""

import asyncio
from dataclasses import replace

import httpx
import numpy as np
import polars as pl
import pytest

from panther_pipeline.cache.stores.record_store import Key
from panther_pipeline.features import online
from panther_pipeline.online import encoding
from panther_pipeline.tokenizer.tokenizer import Tokenizer

from ..batch_run import TOLERANCE, check_scores, differences, inversions, read_batch
from ..serving.replay import MOST_TOGETHER, strangers
from ..serving.replay import replay as send

AS_OF = "2024-11-20"
NUM_EVENTS = 500
MANY_AS_OF, NUM_MANY, NUM_SINGLY = "2024-05-20", 10_000, 1_000


@pytest.fixture(scope="module")
def batch(finished_run):
    return read_batch(finished_run)


def replay(finished_run, batch, folder, as_of: str, num: int | None, every: int = 1) -> tuple[float, int, list]:
    """Largest difference, events compared, and (batch score, online score) of those that were scored in bulk."""
    scorer = finished_run.scorer(folder, as_of)
    features = finished_run.table("04_feature", "event_features")
    features_NF = features.select(scorer.feature_names).to_numpy()
    largest, pairs = 0.0, []
    rows, events = finished_run.events_from(as_of, num)
    for number, (row, event) in enumerate(zip(rows, events, strict=True)):
        asked = batch[row]
        unknown = replace(event, label=None, label_time_us=None)
        made, (decision,) = scorer.inputs(unknown), scorer.score([unknown])
        largest = max(
            largest,
            np.abs(made.features_F - features_NF[row]).max(),
            np.abs(made.embedding_D - np.array(asked["embedding"])).max(),
            *differences(vars(decision), asked),
        )
        if asked["score"] is not None:
            pairs.append((asked["score"], decision.probability))
        assert scorer.ingest([event])[0].status == "accepted"
        if number % every == 0:
            scorer.refresh()
    scorer.close()
    return largest, len(rows), pairs


def test_replayed_events_are_scored_as_in_bulk(finished_run, batch, tmp_path):
    largest, num, pairs = replay(finished_run, batch, tmp_path / "store", AS_OF, NUM_EVENTS)
    assert len(pairs) == num == NUM_EVENTS
    assert inversions(pairs) == 0
    users = {row["history_length"] for row in batch.values()}
    assert 0 in users, "first events of users must be among those compared"
    print(f"\nP28 {largest:.1e} largest difference of {num} events online and in bulk / {TOLERANCE:.0e}")
    assert largest <= TOLERANCE


@pytest.mark.slow
def test_ten_thousand_replayed_events_are_scored_as_in_bulk(finished_run, batch, tmp_path):
    largest, num, pairs = replay(finished_run, batch, tmp_path / "store", MANY_AS_OF, NUM_MANY, every=5)
    assert num == NUM_MANY
    assert inversions(pairs) == 0
    print(f"\nP28 {largest:.1e} largest difference of {num} events online and in bulk / {TOLERANCE:.0e}")
    assert largest <= TOLERANCE


@pytest.mark.slow
def test_ten_thousand_events_over_http_are_scored_as_in_bulk(finished_run, batch, benchmarks, tmp_path):
    from serving_process import serve

    store = tmp_path / "store"
    finished_run.online_store(MANY_AS_OF).save(store)
    rows, events = finished_run.events_from(MANY_AS_OF, NUM_MANY)
    requests = [[event] for event in events[:NUM_SINGLY]] + list(strangers(events[NUM_SINGLY:]))
    assert len(requests) < NUM_SINGLY + (NUM_MANY - NUM_SINGLY) / 2, "most are sent together"

    async def ask(port: int):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            return await send(client, requests)

    settings = {"max_events": MOST_TOGETHER}
    with serve(replace(finished_run.artifacts, store=store), settings, tmp_path / "log") as service:
        scores = asyncio.run(ask(service.port))
    assert len(scores) == NUM_MANY
    largest = check_scores(scores, rows, batch)
    print(f"\nP28 {largest:.1e} largest difference of {NUM_MANY} events over HTTP and in bulk / {TOLERANCE:.0e}")


def test_unseen_values_are_scored_and_counted_as_in_bulk(finished_run, tmp_path):
    """What no training event had: the batch encoder and the online one agree on what it is."""
    scorer = finished_run.scorer(tmp_path / "store", AS_OF)
    tokenizer = Tokenizer.load(finished_run.artifacts.tokenizer)
    _, events = finished_run.events_from(AS_OF, 50)
    for event in events:
        strange = {name: "never seen" if isinstance(value, str) else value for name, value in event.attributes.items()}
        changed = replace(event, event_id="x", attributes=strange, counterparty="nowhere", amount_cents=123_456_789)
        table = pl.DataFrame({**{k: [v] for k, v in strange.items()}, "amount_cents": [123_456_789]})
        assert scorer.score([changed])[0].token == tokenizer.names[int(tokenizer.encode(table).token_ids_N[0])]
    scorer.close()


def test_replay_notices_an_amount_rounded_in_one_path(finished_run, batch, tmp_path, monkeypatch):
    encode = encoding.encode_event

    def rounded(tokenizer, event, history, place):
        return encode(tokenizer, replace(event, amount_cents=round(event.amount_cents, -4)), history, place)

    monkeypatch.setattr("panther_pipeline.online.scorer.encode_event", rounded)
    assert replay(finished_run, batch, tmp_path / "store", AS_OF, 100)[0] > TOLERANCE


def test_replay_notices_a_window_that_sees_the_event_itself(finished_run, batch, tmp_path, monkeypatch):
    look = online.entries_before
    monkeypatch.setattr(online, "entries_before", lambda entries_E, time_us: look(entries_E, time_us + 3_600_000_000))
    compute = online.OnlineFeatures.compute

    def computed(self, event, user, counterparty=None):
        return compute(self, event, user.add(event), counterparty)

    monkeypatch.setattr(online.OnlineFeatures, "compute", computed)
    assert replay(finished_run, batch, tmp_path / "store", AS_OF, 100)[0] > TOLERANCE


def test_replay_notices_records_that_are_never_updated(finished_run, batch, tmp_path, monkeypatch):
    from panther_pipeline.online import ingest

    apply = ingest.Ingestor._apply

    def dropped(self, event, keys: list[Key], packed):
        status, changed = apply(self, event, keys, packed)
        return status, {keys[0]: packed[keys[0]]} if packed[keys[0]] else changed

    monkeypatch.setattr(ingest.Ingestor, "_apply", dropped)
    assert replay(finished_run, batch, tmp_path / "store", AS_OF, 300)[0] > TOLERANCE
