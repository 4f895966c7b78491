"""Events one by one, and codes of texts."""

from types import SimpleNamespace

import polars as pl

from panther_pipeline.features import event
from panther_pipeline.features.event import NO_CODE, NOT_KNOWN_US, code_text, read_events

from .conftest import make_event, make_ledger


def test_code_of_a_text_is_the_same_everywhere():
    assert code_text("m1") == code_text("m1")
    assert code_text("C0000042") == -637243463803871040  # stored states hold such codes
    assert -(2**63) <= code_text("é\n") < 2**63


def test_codes_tell_texts_apart_and_none_from_empty():
    texts = [str(number) for number in range(100_000)] + ["", " ", "None"]
    codes = {code_text(text) for text in texts}
    assert len(codes) == len(texts)
    assert NO_CODE not in codes
    assert code_text(None) == NO_CODE


def test_digest_of_zeros_is_not_taken_for_missing(monkeypatch):
    monkeypatch.setattr(event, "blake2b", lambda text, digest_size: SimpleNamespace(digest=lambda: bytes(digest_size)))
    assert code_text("unlucky") != NO_CODE


def test_lone_surrogate_has_a_code():
    assert code_text("\ud800") != code_text("\ud801")


def test_label_counts_from_its_event_on_and_only_when_both_are_given():
    drawn = make_event(1)
    for label, label_time_us, known_us in (
        (1, drawn.time_us - 5, drawn.time_us),
        (0, drawn.time_us + 5, drawn.time_us + 5),
        (None, drawn.time_us, NOT_KNOWN_US),
        (1, None, NOT_KNOWN_US),
    ):
        assert make_event(1, label=label, label_time_us=label_time_us).known_us == known_us


def test_rows_of_a_ledger_are_read_as_they_are():
    table = make_ledger(0)
    events = list(read_events(table, ["channel"]))
    assert len(events) == table.height
    for read, row in zip(events, table.iter_rows(named=True), strict=True):
        assert read.time_us == round(row["event_time"].timestamp() * 1e6)
        assert (read.label_time_us is None) == (row["label_time"] is None)
        assert read.attributes == {"channel": row["channel"]}
        assert read.cents == (row["amount_cents"] or 0)
        for name in ("user_id", "event_id", "amount_cents", "counterparty", "label"):
            assert getattr(read, name) == row[name]
    assert events[0].attribute_code("channel") == code_text(table["channel"][0])
    assert pl.Series([e.counterparty for e in events]).null_count() == table["counterparty"].null_count() > 0
