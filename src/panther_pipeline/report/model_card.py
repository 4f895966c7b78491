"""The model card: what was measured, on what, what not to conclude from it. One file, no network.

Source: Mitchell et al. 2019, Model Cards for Model Reporting, for the order of the sections.
"""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from panther_pipeline.config import Config
from panther_pipeline.metrics.records import find_value
from panther_pipeline.report.model_card_fraud_kinds import fraud_kind_tables, is_of_kind
from panther_pipeline.report.model_card_merchants import merchant_risk_section
from panther_pipeline.report.model_card_next_values import next_value_section
from panther_pipeline.report.model_card_prototypes import prototype_section
from panther_pipeline.report.model_card_style import SCRIPT, STYLE
from panther_pipeline.report.model_card_tables import (
    difference_table,
    fraud_table,
    ranking_table,
    recovered_gap,
    table,
    tuple_table,
)
from panther_pipeline.report.model_card_texts import INTENDED_USE, LIMITS, PROTOCOL, TITLES
from panther_pipeline.report.model_card_user_label import user_label_section

_SHOWN_DRIFTS = 10


class CardConfig(Config):
    """What the card is called."""

    title: str
    ledger: str  # name of the ledger, as in its folder under data/


@dataclass(frozen=True, kw_only=True)
class CardContent:
    """Everything a card shows."""

    config: CardConfig
    short_history: int  # events of a user before which a transaction counts as cold start
    facts: dict[str, str]  # what identifies the run: digests, counts, periods
    metrics: list[dict[str, Any]]
    validation_report: dict[str, Any]
    coverage_report: dict[str, Any]
    prototype_summary: list[dict[str, Any]]  # from `summarise_prototypes`
    # training, coverage, precision_recall, calibration, alert_budget, prototypes, motifs, timeline, users
    figures: dict[str, go.Figure]


def render_model_card(content: CardContent) -> str:
    """The card as one HTML page: style, scripts and figures inside, nothing loaded from elsewhere.

    Texts that come from data (token names, reasons, model names) are escaped: a merchant called `<script>`
    stays a name.
    """
    sections = {
        "results": _next_transaction(content), "next_values": next_value_section(content.metrics),
        "fraud": _fraud(content), "user_label": user_label_section(content.metrics),
        "merchant_risk": merchant_risk_section(content.metrics), "training": _plot("training"),
        "tokens": _tokens(content),
        "prototypes": prototype_section(content.prototype_summary, _plot("prototypes"), _plot("motifs")),
        "timeline": _timeline(), "users": _users(),
        "data": _data_quality(content.validation_report),
        "protocol": _list(PROTOCOL), "use": _list(INTENDED_USE),
        "limits": _list(LIMITS),
    }  # fmt: skip
    links = "".join(f'<a href="#{key}">{escape(TITLES[key])}</a>' for key in sections)
    body = "".join(
        f'<section id="{key}"><h2>{escape(TITLES[key])}</h2>{html}</section>' for key, html in sections.items()
    )
    title = f"{content.config.title}: {content.config.ledger}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(content.config.title)}</h1>"
        f'<p class="soft">Ledger <b>{escape(content.config.ledger)}</b>. '
        "PANTHER behaviour model, arXiv 2510.10102.</p>"
        f"{_facts(content.facts)}<nav>{links}</nav></header><main>{body}</main>"
        "<footer>Every number here is a record of metrics.json in the same folder. Commit, parameters and "
        "step curves are in the MLflow run that wrote this page.</footer>"
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="figures">{_figures_json(content.figures)}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _next_transaction(content: CardContent) -> str:
    parts = []
    for split, heading in (("test", "All users"), ("test_cold", "Users without training events")):
        numbers = ranking_table(content.metrics, split)
        if numbers:
            parts.append(f"<h3>{heading}</h3>{numbers}{_oracle_share(content.metrics, split)}")
            parts.append(tuple_table(content.metrics, split))
    parts.append(difference_table(content.metrics, "next_transaction"))
    return "".join(parts) or '<p class="soft">Not measured.</p>'


def _oracle_share(metrics: list[dict[str, Any]], split: str) -> str:
    share = find_value(metrics, task="next_transaction", metric="share_of_oracle", split=split)
    ceiling = find_value(metrics, task="next_transaction", model="oracle", metric="hr@1", split=split)
    if share is None or ceiling is None:
        return ""
    interval = f" (95 % interval {share['low']:.1%} to {share['high']:.1%})" if share["low"] is not None else ""
    return (
        "<p>The process that drew this ledger is known: a forecaster who knows it and every user's tastes is "
        f"right in {ceiling['value']:.1%} of the cases. "
        f"The model reaches {share['value']:.1%} of that{interval}.</p>"
    )


def _fraud(content: CardContent) -> str:
    plots = (
        f"<div><h3>Precision and recall</h3>{_plot('precision_recall')}</div>"
        f"<div><h3>Calibration</h3>{_plot('calibration')}</div>"
    )
    whole = [record for record in content.metrics if not is_of_kind(record)]
    tables = fraud_table(whole)
    if short := fraud_table(whole, "test_short_history"):
        note = (
            f"Transactions with fewer than {content.short_history} earlier ones of their user. Shown if 10 frauds or "
            "more are among them; the intervals say how little is known."
        )
        tables += f"<h3>Users with a short history</h3><p>{note}</p>{short}"
    if cold := fraud_table(whole, "test_cold"):
        note = (
            "Transactions of users without any in training or validation: nothing was fitted to them, though their own "
            "past is read. Shown if 10 frauds or more are among them; the intervals say how little is known."
        )
        tables += f"<h3>Users never seen in training</h3><p>{note}</p>{cold}"
    tables += difference_table(content.metrics, "fraud") + recovered_gap(content.metrics)
    tables += fraud_kind_tables(content.metrics)
    budget = (
        "<h3>Alert budget</h3><p>How many alerts a day you can look at decides what you catch. Saved: the loss that is "
        "avoided less the cost of the reviews, over the test window, against looking at nothing; set "
        "evaluation.costs to yours. The diamond is the threshold that saved most on the calibration rows, before the "
        f"test; where none paid there, there is none.</p>{_plot('alert_budget')}"
    )
    return f'{tables}<div class="pair">{plots}</div>{budget}'


def _tokens(content: CardContent) -> str:
    report = content.coverage_report
    rows = [
        [escape(str(record["split"])), f"{record['num_events']:,}",
         *(f"{record[rate]:.2%}" for rate in ("whole_rate", "coverage", "unk_rate"))]
        for record in report.get("splits", [])
    ]  # fmt: skip
    caption = "Whole: all attributes kept. Covered: any token but [UNK], some with an attribute dropped."
    usage = table(["split", "events", "whole", "covered", "[UNK]"], rows, caption=caption)
    return usage + _drift(report.get("drift", [])) + _plot("coverage")


def _drift(found: list[dict[str, Any]]) -> str:
    """The groups of events in which a field has drifted since training, the most shifted first."""
    if not found:
        return '<p class="soft">No field has drifted since training.</p>'
    worst = sorted(found, key=lambda record: -record["stability"])
    rows = [
        [escape(record["field"]), escape(record["group"]), f"{record['num_events']:,}",
         f"{record['unknown_rate']:.2%}", f"{record['train_unknown_rate']:.2%}", f"{record['stability']:.2f}"]
        for record in worst[:_SHOWN_DRIFTS]
    ]  # fmt: skip
    caption = (
        f"Drift since training: {len(found)} of the fields and groups show 5 % more unknown values than training or a "
        f"population stability index above 0.25; the {len(rows)} with the highest index."
    )
    return table(["field", "in", "events", "unknown", "in training", "index"], rows, caption=caption, num_text=2)


def _timeline() -> str:
    return (
        "<p>One user's transactions and how little the model expected each: −log₂ of the probability it gave, right "
        "after the transaction before, to what then came. Fraud is ringed where the ledger knows of it; the model was "
        f"not told.</p>{_plot('timeline')}"
    )


def _users() -> str:
    return (
        "<p>Each point is a user: the two directions in which the embeddings differ most (principal "
        "components). Distances in two dimensions show part of the distances in all of them.</p>"
        f"{_plot('users')}"
    )


def _data_quality(report: dict[str, Any]) -> str:
    counts = report.get("counts", {})
    if not counts:
        return '<p class="soft">No validation report.</p>'
    rows = [
        ["rows in", f"{counts['rows_in']:,}", ""],
        ["accepted", f"{counts['accepted']:,}", f"{counts['accepted'] / max(1, counts['rows_in']):.3%}"],
        [
            "quarantined",
            f"{counts['quarantined']:,}",
            f"{counts['quarantined'] / max(1, counts['rows_in']):.3%}",
        ],
    ]
    rows += [
        [
            f"&emsp;<code>{escape(str(reason))}</code>",
            f"{number:,}",
            f"{number / max(1, counts['rows_in']):.3%}",
        ]
        for reason, number in report.get("reasons", {}).items()
    ]
    checks = report.get("expectations", [])
    failed = sum(not check["success"] for check in checks)
    verdict = (
        f"<p>{len(checks) - failed} of {len(checks)} expectations of the accepted events hold.</p>" if checks else ""
    )
    return table(["", "rows", "share"], rows) + verdict


def _facts(facts: dict[str, str]) -> str:
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def _list(texts: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _plot(name: str) -> str:
    return f'<div class="plot" id="plot-{name}"></div>'


def _figures_json(figures: dict[str, go.Figure]) -> str:
    # The template repeats 7 KB of defaults in every figure; a "<" inside a script could end it.
    plain = {}
    for name, figure in figures.items():
        content = json.loads(figure.to_json())
        content["layout"].pop("template", None)
        plain[f"plot-{name}"] = content
    return json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c")
