"""Kinds of fraud in the model card."""

import re

from panther_pipeline.metrics.records import make_record
from panther_pipeline.report.model_card_fraud_kinds import fraud_kind_tables, is_of_kind


def record(model: str, metric: str, value: float) -> dict:
    return make_record(
        task="fraud", model=model, metric=metric, split="test", value=value, low=value - 0.1, high=value + 0.1, n=120
    )


RECALLS = [
    record("panther_head", "recall@1%_of_takeover", 0.6), record("oracle", "recall@1%_of_takeover", 0.8),
    record("panther_head", "recall@1%_of_takeover_share_of_oracle", 0.75),
    record("panther_head", "recall@0.1%_of_takeover", 0.11), record("trees_both", "recall@1%_of_<b>", 0.25),
]  # fmt: skip
WHOLE = record("panther_head", "recall@1%", 0.5)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_each_cell_has_recall_interval_and_share_of_the_oracle():
    text = text_of(fraud_kind_tables([*RECALLS, WHOLE]))
    assert "recall@1% takeover (120)" in text
    assert "panther_head 0.6000 0.5000 – 0.7000 75% of the oracle" in text
    assert "oracle 0.8000 0.7000 – 0.9000" in text
    assert "ceiling in expectation" in text
    assert "0.1100" in text.split("recall@0.1%")[1].split("recall@1%")[0]


def test_oracle_is_the_last_row_and_kinds_are_escaped():
    html = fraud_kind_tables(RECALLS)
    models = re.findall(r"<tr[^>]*><td>(\w+)</td>", html.split("recall@1%")[1])
    assert models == ["trees_both", "panther_head", "oracle"]
    assert "<b>" not in html


def test_without_an_oracle_none_is_promised():
    assert "oracle" not in fraud_kind_tables([RECALLS[0]])


def test_nothing_is_shown_where_no_kind_is_known():
    assert fraud_kind_tables([WHOLE]) == ""
    assert not is_of_kind(WHOLE)
    assert all(is_of_kind(r) for r in RECALLS)
