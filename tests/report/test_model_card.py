"""The model card opens without a network, escapes what comes from data, and leaves nothing out."""

import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from panther_pipeline.metrics.records import make_record
from panther_pipeline.report.model_card import CardConfig, CardContent, render_model_card
from panther_pipeline.report.model_card_tables import fraud_table, recovered_gap
from panther_pipeline.report.model_card_texts import TITLES

HOSTILE = '<script>alert("x")</script>'
FIGURES = (
    "training", "coverage", "precision_recall", "calibration", "alert_budget", "prototypes", "motifs", "timeline",
    "users",
)  # fmt: skip
USAGE = {"num_events": 10, "whole_rate": 0.9, "coverage": 0.95, "unk_rate": 0.05}


def make_content(**changes) -> CardContent:
    def record(task, model, metric, value, split="test"):
        return make_record(
            task=task,
            model=model,
            metric=metric,
            split=split,
            value=value,
            low=value - 0.01,
            high=value + 0.01,
            n=123,
        )

    content = {
        "config": CardConfig(title="Model card", ledger="unit"),
        "short_history": 20,
        "facts": {"data fingerprint": "abc123"},
        "metrics": [
            record("next_transaction", "markov", "hr@1", 0.2),
            record("next_transaction", "panther", "hr@1", 0.3125),
            record("next_transaction", "panther", "hr@1_difference_vs_markov", 0.1125),
            record("next_transaction", "oracle", "hr@1", 0.5),
            record("next_transaction", "panther", "share_of_oracle", 0.625),
            record("next_transaction", "panther", "hr@1", 0.25, split="test_cold"),
            record("next_transaction", "popularity", "bits_per_transaction", 5.25),
            record("next_transaction", "popularity", "tuple_hr@1", 0.04),
            record("next_transaction", "panther_structured", "bits_per_transaction", 3.75),
            record("next_transaction", "panther_structured", "tuple_hr@1", 0.29),
            record("fraud", "panther_head", "average_precision", 0.4321),
            record("fraud", "panther_head", "average_precision_difference_vs_trees_both", 0.005),
            record("fraud", "panther_head", "recall@1%_of_takeover", 0.6125),
        ],
        "validation_report": {
            "counts": {"rows_in": 1000, "accepted": 990, "quarantined": 10, "quarantine_share": 0.01},
            "reasons": {"duplicate_id": 7, "amount_format": 3},
            "expectations": [{"success": True}, {"success": False}],
        },
        "coverage_report": {"splits": [{"split": "train", **USAGE}]},
        "prototype_summary": [make_prototype(k) for k in range(15)],
        "figures": {name: go.Figure(go.Scatter(x=[1], y=[2], name=name)) for name in FIGURES},
    }
    return CardContent(**{**content, **changes})


def make_prototype(prototype: int, state: str = "used", name: str = "rent") -> dict:
    near = {"name": name, "lift": 3.25, "num_events": 1234}
    return {
        "prototype": prototype, "share": 0.015, "variation": 1.0, "state": state, "tokens": [near],
        "motifs": [{**near, "name": f"{name} → tea"}],
    }  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would load, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads, self.scripts, self.ids, self.texts, self._tag = [], 0, set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            if name in ("src", "srcset", "data", "action", "background", "poster") or (
                name == "href" and not value.startswith("#")
            ):
                self.loads.append((tag, name, value))

    def handle_data(self, data):
        if self._tag not in ("script", "style"):
            self.texts.append(data)


def text_of(html: str) -> str:
    return " ".join(" ".join(Reader(html).texts).split())


@pytest.fixture(scope="module")
def card() -> str:
    return render_model_card(make_content())


def test_card_loads_nothing_and_holds_plotly_once(card):
    reader = Reader(card)
    assert reader.loads == []
    assert reader.scripts == 3
    assert "@import" not in card.split("</style>")[0]
    assert "url(" not in card.split("</style>")[0]
    assert len(card) < 10_000_000
    assert card.count("plotly.js v") == 1


def test_card_has_every_section_and_a_place_for_every_figure(card):
    reader = Reader(card)
    assert set(TITLES) <= reader.ids
    assert all(f"<h2>{title}</h2>" in card for title in TITLES.values())
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', card, re.S).group(1))
    assert set(figures) == {f"plot-{name}" for name in FIGURES} <= reader.ids


def test_card_shows_numbers_with_intervals_and_the_share_of_the_possible(card):
    text = text_of(card)
    assert "0.3125 0.3025 – 0.3225" in text
    assert "0.4321 0.4221 – 0.4421" in text
    assert "reaches 62.5% of that (95 % interval 61.5% to 63.5%)" in text
    assert "panther − markov hr@1 test +0.1125 +0.1025 to +0.1225 higher" in text
    assert "+0.0050 -0.0050 to +0.0150 not told apart" in text
    assert "Users without training events" in text


def test_card_shows_bits_of_whole_combinations_and_the_lowest_as_best(card):
    text = text_of(card)
    assert "model bits_per_transaction tuple_hr@1 tuple_hr@10" in text
    assert "panther_structured 3.7500 3.7400 – 3.7600 0.2900 0.2800 – 0.3000 –" in text
    best = re.findall(r'<td class="n best">([\d.]+)<', card)
    assert "3.7500" in best
    assert "5.2500" not in best


def test_card_of_a_factored_model_has_it_among_combinations_only():
    metrics = [
        {**r, "model": "panther_factored"} if r["model"] == "panther_structured" else r
        for r in make_content().metrics
        if r["model"] != "panther"
    ]
    html = render_model_card(make_content(metrics=metrics))
    assert re.search(r"<tr class=ours><td>panther_factored</td>", html)
    assert not re.search(r"<td>panther</td>", html)


def test_card_always_has_the_four_fraud_rows():
    for metrics in ([], make_content().metrics):
        text = text_of(render_model_card(make_content(metrics=metrics)))
        assert all(model in text for model in ("trees_features", "trees_embeddings", "trees_both", "panther_head"))
    assert "Not measured" in text_of(render_model_card(make_content(metrics=[])))


def test_card_shows_what_is_flagged_and_where_deviations_help():
    metrics = [
        make_record(
            task="merchant_risk", model=model, metric=metric, split=split, value=value, low=value - 0.01,
            high=value + 0.01, n=1234,
        )
        for split in ("test", "test_unsuspected")
        for model, metric, value in [
            ("trees_activity", "precision@1%", 0.25), ("trees_both", "precision@1%", 0.375),
            ("trees_both", "recall@1%", 0.0625), ("trees_both", "precision@1%_difference_vs_trees_activity", 0.125),
        ]
    ]  # fmt: skip
    text = text_of(render_model_card(make_content(metrics=metrics)))
    section = text[text.index("Will there be a fraud") :]
    assert "trees_activity 0.2500 0.2400 – 0.2600" in section
    assert "trees_both 0.3750 0.3650 – 0.3850" in section
    assert "1,234 rows, one per counterparty and instant" in section
    assert "Counterparties without a known fraud" in section
    assert "trees_both − trees_activity precision@1% test +0.1250 +0.1150 to +0.1350 higher" in section
    assert "same resamples of counterparties" in section


def test_card_says_why_merchant_risk_is_not_measured(card):
    assert "Not measured: this ledger has no counterparties or no labels, is not split by time" in text_of(card)


def fraud_records(*found: tuple[str, str, float], **bounds: None) -> list[dict]:
    """Records of the test window."""
    return [
        make_record(task="fraud", model=model, metric=metric, split="test", value=value, n=123,
                    **({"low": value - 0.01, "high": value + 0.01} | bounds))
        for model, metric, value in found
    ]  # fmt: skip


def test_heads_that_read_the_history_have_rows_where_they_are():
    plain = ("panther_head", "average_precision", 0.4)
    assert "head_attention" not in fraud_table([]) + fraud_table(fraud_records(plain))
    assert "head_attention" in fraud_table(fraud_records(plain, ("head_attention", "average_precision", 0.5)))


def test_card_says_what_the_taught_head_recovers():
    both = ("head_attention", "average_precision", 0.5), ("head_distilled", "average_precision", 0.45)
    share = ("head_distilled", "average_precision_gap_recovered", 0.37)
    metrics = make_content().metrics
    text = text_of(render_model_card(make_content(metrics=metrics + fraud_records(*both, share))))
    assert "recovers 37% of the lead of head_attention in average precision (95 % interval 36% to 38%)" in text
    assert "average_precision_gap_recovered" not in text
    assert "without an interval" in recovered_gap(fraud_records(*both, share, low=None, high=None))
    assert "nothing to recover" in recovered_gap(fraud_records(*both))
    assert recovered_gap(metrics) == ""


def test_card_accounts_for_every_row_of_the_source(card):
    text = text_of(card)
    assert "rows in 1,000 accepted 990 99.000% quarantined 10 1.000%" in text
    assert "duplicate_id 7 0.700% amount_format 3 0.300%" in text
    assert "1 of 2 expectations" in text


def test_card_escapes_names_that_come_from_data():
    content = make_content()
    record = {**content.metrics[0], "model": HOSTILE}
    fraud = {**content.metrics[-2], "model": HOSTILE, "metric": HOSTILE}
    difference = {**content.metrics[2], "model": HOSTILE, "metric": f"hr@1_difference_vs_{HOSTILE}"}
    merchant = {**fraud, "task": "merchant_risk"}
    html = render_model_card(
        make_content(
            config=CardConfig(title=HOSTILE, ledger=HOSTILE),
            facts={HOSTILE: HOSTILE},
            metrics=[*content.metrics, record, fraud, difference, merchant],
            validation_report={**content.validation_report, "reasons": {HOSTILE: 1}},
            coverage_report={"splits": [{"split": HOSTILE, **USAGE}]},
            prototype_summary=[make_prototype(0, name=HOSTILE)],
            figures={"users": go.Figure(go.Scatter(x=[1], y=[1], name=HOSTILE))},
        )
    )
    assert HOSTILE not in html
    assert Reader(html).scripts == 3
    assert text_of(html).count(HOSTILE) >= 10


def test_card_of_a_run_without_anything_still_has_its_sections():
    html = render_model_card(
        make_content(metrics=[], validation_report={}, coverage_report={}, prototype_summary=[], figures={}, facts={})
    )
    assert set(TITLES) <= Reader(html).ids
    assert "No validation report" in html


def test_card_is_the_same_for_the_same_content(card):
    assert render_model_card(make_content()) == card


def test_drift_is_shown_with_its_group():
    record = {
        "field": HOSTILE, "group": "2024-11", "num_events": 1234, "unknown_rate": 0.12, "train_unknown_rate": 0.01,
        "stability": 0.4,
    }  # fmt: skip
    report = {"splits": [{"split": "train", **USAGE}], "drift": [record]}
    html = render_model_card(make_content(coverage_report=report))
    assert "2024-11" in html
    assert "12.00%" in html
    assert HOSTILE not in html
    assert "No field has drifted" in render_model_card(make_content())


def test_card_names_what_attends_to_each_prototype_and_folds_the_long_tail(card):
    text = text_of(card)
    assert "p0 3.2 × rent 3.2 × rent → tea 1.5%" in text
    assert "The other 3" in text
    assert text.count("× rent → tea") == 15
    assert "None of the 15 prototypes is dead" in text


def test_card_counts_the_dead_prototypes():
    states = ["used", "hardly used", "hardly used", "same for all events"]
    summary = [make_prototype(k, state) for k, state in enumerate(states)]
    text = text_of(render_model_card(make_content(prototype_summary=summary)))
    assert "3 of 4 prototypes are dead: 2 get less than a tenth of even attention, 1 get the same" in text
    assert "p1 hardly used" in text
    assert "p3 same for all events" in text


def test_card_shows_the_next_values_of_each_attribute():
    def record(model, metric, value, split="test"):
        return make_record(
            task=f"next_{HOSTILE}", model=model, metric=metric, split=split, value=value, low=None, high=None, n=77,
            candidates="the 9 values",
        )  # fmt: skip

    metrics = [
        record("popularity", "hr@1", 0.1234), record("panther_head", "hr@1", 0.5678),
        record("panther_head", "hr@1_difference_vs_popularity", 0.4444), record("any", "coverage", 0.9876),
        record("panther_head", "hr@1", 0.2468, split="test_cold"),
    ]  # fmt: skip
    html = render_model_card(make_content(metrics=metrics))
    text = text_of(html)
    assert HOSTILE not in html
    assert "98.76% of the transactions have a value that training knew" in text
    assert "77 transactions, each ranked among the 9 values" in text
    assert "popularity 0.1234" in text
    assert "panther_head − popularity hr@1 test +0.4444" in text
    assert "0.2468" in text
    assert "attributes names none" in text_of(render_model_card(make_content(metrics=[])))


def test_recall_by_kind_of_fraud_has_a_table_of_its_own(card):
    assert card.count("recall@1%_of_takeover") == 0  # no column of the table of whole metrics
    assert "Kinds of fraud" in text_of(card)
    assert "0.6125 0.6025 – 0.6225" in text_of(card)
