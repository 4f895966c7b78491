"""The two files of an environment, with a comment above each key: what it is, what was seen, what is unsure."""

import textwrap
from pathlib import Path
from typing import Any

import yaml

from panther_pipeline.ledger.draft.choice import Choice
from panther_pipeline.ledger.draft.propose import Proposal
from panther_pipeline.ledger.draft.sample import Sample

_WIDTH = 116
_TYPES = {"delimited": "DelimitedDataset", "parquet": "ParquetDataset", "excel": "ExcelDataset"}
_MEANING = {
    "user_id": "Who. Kept as exact text: 007 stays 007. Several columns: [A, B].",
    "event_id": "Unique per transaction; null = a row is known by its number.",
    "event_time": "When. format: chrono codes of text times; null = ISO 8601 or a datetime column. zone: of times that "
    "state none. An event before earliest or after latest is quarantined.",
    "tie_break": "What orders a user's events at the same instant; numbers sort as numbers. Then file order.",
    "amount": "A decimal number, kept as integer cents; null = no amounts.",
    "amount_range": "[lowest, highest] allowed, in units of the currency.",
    "counterparty": "Merchant, terminal or partner account; null = none.",
    "attributes": "name = what it is called from here on, column = what the source calls it, kind = category | number.",
    "label": "null = no event label. positive and negative: source values, as text; any other is quarantined. A label "
    "may be used known_after_days after its event.",
    "forbidden": "Source column → why nothing may ever read it.",
    "missing": "Texts that mean an empty cell, beside nothing and blanks.",
    "card_numbers": "tokenize: a card number in an id becomes a token, in other text it is masked; allow: left alone.",
    "profiles": "The table of users; null = this ledger has none.",
    "user_labels": "Labels of users as of a date; null = none.",
}


def write_catalog(events: Sample, users: Sample | None, path_of: dict[Path, str], profiles: Choice) -> str:
    """catalog.yml: where the files are and how they are written."""
    lines = [
        "# Where this ledger's files are and how they are written. A pattern such as payments_*.csv.gz reads several.",
        "",
        *_entry("raw_transactions", events, path_of),
        "",
    ]
    if users and profiles.value:
        lines += [*_entry("raw_profiles", users, path_of), ""]
    else:
        lines += _empty("raw_profiles", "no table of users was given")
    lines += _empty("raw_user_labels", "no labels of users were given")
    lines += _empty("ledger_oracle", "no true distribution is known for this ledger")
    lines += _empty("fraud_kinds", "nothing says what kind a fraud is")
    lines += _empty("ledger_truth", "no true distribution is known for this ledger")
    return "\n".join(lines).rstrip() + "\n"


def write_parameters(proposal: Proposal, events: Sample, name: str) -> str:
    """parameters_ledger.yml: which column is what, where time is split, what makes a token."""
    rows = f"{events.rows.height:,} rows" + ("" if events.is_whole else ", a part of it")
    lines = [
        *_comment(
            f"The ledger {name}, drafted from {events.path.name} ({rows}). What is marked `unsure` needs a look."
        ),
        *_comment("Every key that a column may have: docs/your_ledger.md."),
        "ledger:",
        "  schema:",
    ]
    values = proposal.schema_values()
    for key, choice in proposal.schema.items():
        if key in ("attributes", "profiles") and values[key]:
            lines += _attribute_block(key, choice, values[key])
        else:
            lines += [*_notes(_MEANING[key], choice, 4), *_dump({key: values[key]}, 4)]
    lines += _splits(proposal)
    lines += _tokenizer(proposal)
    return "\n".join([*lines, *_model(proposal), *_next_values(proposal), *_gate(proposal)]) + "\n"


def unsure_points(proposal: Proposal, samples: list[Sample]) -> list[tuple[str, str]]:
    """(key, what is unsure) of everything that was written."""
    points = [("catalog", note) for sample in samples for note in sample.format.unsure]
    points += [(key, note) for key, choice in proposal.schema.items() for note in choice.unsure]
    points += [("splits", note) for note in proposal.splits.unsure]
    return points


def _entry(entry: str, sample: Sample, path_of: dict[Path, str]) -> list[str]:
    format = sample.format
    notes = [line for note in format.seen for line in _comment(f"Seen: {note}.", 2)]
    notes += [line for note in format.unsure for line in _comment(f"unsure: {note}.", 2)]
    value = {
        "type": f"panther_pipeline.datasets.{_TYPES[format.kind]}",
        "filepath": path_of[sample.path],
        **format.options,
        "metadata": {"kedro-viz": {"layer": "01_raw"}},
    }
    return [f"{entry}:", *notes, *_dump(value, 2)]


def _empty(entry: str, reason: str) -> list[str]:
    return [f"{entry}:", "  type: panther_pipeline.datasets.EmptyTableDataset", f"  reason: {reason}", ""]


def _attribute_block(key: str, choice: Choice, value: Any) -> list[str]:
    lines = _notes(_MEANING[key], choice, 4)
    lines.append(f"    {key}:")
    described = choice.value if key == "attributes" else choice.value["attributes"]
    indent = 6
    if key == "profiles":
        lines += [*_dump({"user_id": value["user_id"]}, 6), *([] if described else ["      attributes: []"])]
        lines += ["      attributes:"] if described else []
        indent = 8
    for attribute, seen in described:
        lines += [*_comment(f"{seen[0].upper()}{seen[1:]}.", indent), *_dump([attribute], indent)]
    return lines


def _splits(proposal: Proposal) -> list[str]:
    value = proposal.splits.value
    meaning = (
        "protocol: time | leave_last_out | leave_last_share. Instants, UTC. Tokenizer and backbone learn before "
        "train_end; from there to valid_end: early stopping, calibration, thresholds; then the test, until test_end "
        "(null = the end)."
    )
    lines = ["  splits:", *_notes(meaning, proposal.splits, 4), *_dump(value, 4)]
    lines += [*_dump({"test_end": None}, 4), *_comment("Days after valid_end that belong to no split.", 4)]
    lines += [*_dump({"embargo_days": 0}, 4), *_comment("Of each history, under leave_last_share alone.", 4)]
    lines += [*_dump({"test_share": None, "valid_share": None}, 4)]
    lines += [*_comment("Users that are never trained on, to measure cold start.", 4)]
    return [*lines, *_dump({"held_out_user_share": 0.0}, 4), ""]


def _tokenizer(proposal: Proposal) -> list[str]:
    meaning = (
        "What makes a token, in the order of its name; every combination seen is one, so three or four fields are "
        "enough. source: category | number | amount | counterparty | hour | weekday | gap; kind: categorical "
        "(max_categories) | quantile or log (num_bins) | fixed (edges)."
    )
    zone = "UTC" if proposal.is_order else proposal.schema["event_time"].value["zone"]
    rest = {
        "zone": zone, "max_tokens": 4096, "coverage_target": None, "min_count": 5, "max_dropped": 2,
        "profile_max_categories": 64, "profile_num_bins": 8,
    }  # fmt: skip
    item = proposal.fields.value[0].get("max_categories", 0)
    rest["max_tokens"] = max(rest["max_tokens"], item + 2)
    lines = ["tokenizer:", "  vocabulary:", *_notes(meaning, proposal.fields, 4), "    fields:"]
    for field in proposal.fields.value:
        lines += _dump([field], 6)
    return [*lines, *_comment("zone: of hour and weekday. The others: conf/base/parameters/tokenizer.yml.", 4),
            *_dump(rest, 4)]  # fmt: skip


def _model(proposal: Proposal) -> list[str]:
    if not proposal.is_order:
        return []
    note = "Only the order of events is known, so the model is told nothing of time."
    return ["", "pretraining:", "  model:", *_comment(note, 4), "    time_encoding: none"]


def _next_values(proposal: Proposal) -> list[str]:
    """The categories that make the token, and the counterparty."""
    names = [field["name"] for field in proposal.fields.value if field["source"] == "category"]
    names += ["counterparty"] if proposal.schema["counterparty"].value else []
    note = "Whose next value is forecast beside the token: categories, or counterparty; null = all, [] = none."
    return ["", "finetuning:", "  next_value:", *_comment(note, 4), *_dump({"attributes": names}, 4)]


def _gate(proposal: Proposal) -> list[str]:
    if proposal.gate is None:
        return []
    faults = ", ".join(f"{reason} {share:.1%}" for reason, share in list(proposal.faults.items())[:4])
    return [
        "",
        "validation:",
        "  gate:",
        *_comment(f"Rows that could not be read in the sample: {faults}.", 4),
        *_comment("unsure: are these rows to be left out? If not, correct the schema and take this block away.", 4),
        *_dump({"max_quarantined_share": proposal.gate}, 4),
    ]


def _notes(meaning: str, choice: Choice, indent: int) -> list[str]:
    lines = _comment(meaning, indent)
    if choice.seen:
        lines += _comment("Seen: " + "; ".join(choice.seen) + ".", indent)
    for note in choice.unsure:
        lines += _comment(f"unsure: {note}.", indent)
    return lines


def _comment(text: str, indent: int = 0) -> list[str]:
    start = " " * indent + "# "
    text = " ".join(text.split())
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start + "  ", break_long_words=False)


def _dump(value: Any, indent: int) -> list[str]:
    """YAML of a value; inner lists and dictionaries of plain values on one line."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=None)
    if isinstance(value, dict) and len(value) == 1 and text.startswith("{"):
        text = text.strip()[1:-1]
    elif isinstance(value, dict) and text.startswith("{"):
        text = "".join(
            yaml.dump({k: v}, Dumper=_Dumper, allow_unicode=True, default_flow_style=False) for k, v in value.items()
        )
    return [" " * indent + line for line in text.rstrip().splitlines()]


class _Dumper(yaml.SafeDumper):
    """Text in double quotes where quotes are needed."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def choose_scalar_style(self) -> str:
        style = super().choose_scalar_style()
        return '"' if style == "'" else style
