"""P39: no card number leaves ingestion, nor the service.

1,000 numbers with a valid check digit are planted in every column, in rows that cannot be read, in the header, in file
names, in requests and in exceptions. Then everything that was written is searched for their digits, whatever stands
between them: data, MLflow, reports, logs, temporary files, answers. The same search finds them where it should: in the
source, and in what is written once replacing them is switched off.
"""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from panther_pipeline import errors
from panther_pipeline.cards.keys import KEY_VARIABLE, TOKEN_PATTERN, read_card_key
from panther_pipeline.cards.log_records import MaskedRecord
from panther_pipeline.datasets import DelimitedDataset
from panther_pipeline.ledger.delimited import DelimitedSource
from panther_pipeline.ledger.joins import prepare_lookups
from panther_pipeline.ledger.mapping import map_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.serving.config import ServingConfig
from panther_pipeline.serving.contracts import EventContract
from panther_pipeline.serving.logs import JsonFormatter

from ..canaries import make_canaries, scan, seen_in, spell
from ..conftest import CARD_KEY, copy_project
from ..serving.conftest import running

CANARIES = make_canaries(1000)
OTHER_KEY = "91f3c07be28d465aa0e7135fd4b98c2260ab7de1f409835cc6127b9e3d50f8a4"
COLUMNS = [
    "customer_id", "transaction_id", "booked_at", "amount", "merchant_id", "category", "channel", "distance", "note",
    "is_fraud", "unused",
]  # fmt: skip
NUM_USERS, NUM_GOOD = 60, 600
BROKEN = {  # what is wrong → the reason given; 30 rows each
    "booked_at": "time_unparsable", "amount": "amount_not_a_number", "distance": "attribute_not_a_number",
    "is_fraud": "label_unknown_value", "padded": "malformed_user_id", "fields": "wrong_number_of_fields",
    "quote": "unclosed_quote", "control": "control_character",
}  # fmt: skip
NUM_EACH = 30


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A project with the canaries in its source, and what running it wrote to the terminal."""

    folder: Path
    file: Path
    schema: LedgerSchema
    output: str = ""

    def run(self, *options: str, key: str | None) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        environment |= {"TMPDIR": str(self.folder / "tmp")} | ({KEY_VARIABLE: key} if key else {})
        command = [sys.executable, "-m", "kedro", "run", "--env=canaries", *options]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def written(self) -> dict[str, set[str]]:
        """Files with canaries, but for the source."""
        return {name: seen for name, seen in scan(self.folder, CANARIES).items() if not name.startswith("data/01_raw")}

    def table(self, path: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "data" / path)


def lines() -> tuple[str, list[str], list[str]]:
    """Header, good rows and broken rows; together with the profiles they hold all canaries."""
    left = iter(CANARIES)
    users = [next(left) for _ in range(NUM_USERS)]
    shops = [next(left) for _ in range(40)]
    header = ",".join([*COLUMNS, f"card {next(left)}"])
    next(left)  # the file's name
    good, broken = [], []
    for i in range(NUM_GOOD):
        row = {
            "customer_id": spell(users[i % NUM_USERS], i // NUM_USERS), "transaction_id": f"t{i}",
            "booked_at": f"2024-{1 + i % 12:02d}-{1 + i % 28:02d} 12:00:00", "amount": f"{i}.50",
            "merchant_id": spell(shops[i % 40], i), "category": ("food", "travel", "cash")[i % 3], "channel": "online",
            "distance": "1.5", "note": str(i), "is_fraud": "0", "unused": "",
        }  # fmt: skip
        in_turn = ("transaction_id", "category", "note", "unused")[i % 4]
        row[in_turn] = f"x {spell(next(left), i)} y" if in_turn != "transaction_id" else next(left)
        good.append(",".join([*row.values(), ""]))
    for n, what in enumerate(BROKEN):
        for i in range(NUM_EACH):
            row = {**dict.fromkeys(COLUMNS, ""), "customer_id": "u1", "transaction_id": f"b{n}-{i}", "amount": "1.00"}
            row |= {"booked_at": "2024-01-01 12:00:00", "distance": "1", "is_fraud": "0"}
            row["customer_id" if what == "padded" else what] = (canary := next(left)) + " " * (what == "padded")
            cells = [row[name] for name in COLUMNS]
            tail = {"fields": [canary], "quote": [f'"{canary}'], "control": [f"{canary}\x00"]}.get(what, [""])
            broken.append(",".join(cells + tail + (["more"] if what == "fields" else [])))
    return header, good, broken + [f"t,{canary}" for canary in left]


def plant(folder: Path) -> Planted:
    """A project whose ledger has the columns of the simulated one, and two more."""
    copy_project(folder)
    for name in ("tmp", "conf/canaries", "data/01_raw"):
        (folder / name).mkdir(parents=True)
    header, good, broken = lines()
    file = folder / f"data/01_raw/pay_{CANARIES[NUM_USERS + 41]}.csv"
    file.write_text("\n".join([header, *good, *broken]) + "\n")
    profiles = [f"{user},30-39,{spell(user, 2)},visa,low" for user in CANARIES[:NUM_USERS]]
    names = "customer_id,age_band,region,card_brand,income_band"
    (folder / "data/01_raw/users.csv").write_text("\n".join([names, *profiles]) + "\n")
    source = {"type": "panther_pipeline.datasets.DelimitedDataset", "metadata": {"kedro-viz": {"layer": "01_raw"}}}
    catalog = {
        "raw_transactions": {**source, "filepath": "data/01_raw/pay_*.csv"},
        "raw_profiles": {**source, "filepath": "data/01_raw/users.csv"},
    }
    ledger = yaml.safe_load((folder / "conf/base/parameters/ledger.yml").read_text())["ledger"]
    schema = ledger["schema"]
    schema["attributes"].append({"name": "distance", "column": "distance", "kind": "number"})
    schema |= {"tie_break": ["note"], "amount_range": [-1e15, 1e15]}
    gate = {"max_quarantined_share": 0.5}
    (folder / "conf/canaries/catalog.yml").write_text(yaml.safe_dump(catalog))
    parameters = {"ledger": ledger, "validation": {"gate": gate}}
    (folder / "conf/canaries/parameters_ledger.yml").write_text(yaml.safe_dump(parameters))
    return Planted(folder=folder, file=file, schema=LedgerSchema(**schema))


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Planted:
    """After a run from the source to token sequences, with a key."""
    planted = plant(tmp_path_factory.mktemp("canaries"))
    result = planted.run("--pipelines=ingest,validate,tokenize", key=CARD_KEY)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return replace(planted, output=result.stdout + result.stderr)


def test_search_finds_every_canary_in_the_source(planted):
    found = scan(planted.folder / "data/01_raw", CANARIES)
    assert set().union(*found.values()) == set(CANARIES)
    assert len(found) == 2


def test_nothing_that_a_run_writes_holds_a_card_number(planted):
    assert planted.written() == {}
    assert seen_in(planted.output, CANARIES) == set()
    assert (planted.folder / "mlflow.db").stat().st_size > 0


def test_every_row_is_there_with_a_token_or_a_mask(planted):
    key = read_card_key({KEY_VARIABLE: CARD_KEY})
    valid = planted.table("03_primary/canaries/valid_events.parquet")
    assert valid.height == NUM_GOOD
    assert set(valid["user_id"]) == {key.token(user) for user in CANARIES[:NUM_USERS]}
    assert valid["counterparty"].str.contains(f"^{TOKEN_PATTERN}$").all()
    assert valid["counterparty"].n_unique() == 40
    assert valid["event_id"].str.contains(f"^{TOKEN_PATTERN}$").sum() == NUM_GOOD // 4
    assert set(planted.table("03_primary/canaries/profiles.parquet")["user_id"]) == set(valid["user_id"])
    quarantined = planted.table("03_primary/canaries/quarantined_events.parquet")
    counts = dict(quarantined["reason"].value_counts().iter_rows())
    # 16 digits and more are too large for an amount before anything else is.
    counts["amount_not_a_number"] += counts.pop("amount_out_of_range")
    assert counts.pop("wrong_number_of_fields") > NUM_EACH
    assert counts == {reason: NUM_EACH for reason in BROKEN.values() if reason != "wrong_number_of_fields"}
    assert quarantined["original_line"].str.contains(r"\[masked\]").all()
    assert set(quarantined["source_file"]) == {"pay_[card number].csv"}


def test_report_and_page_name_the_key_by_its_id(planted):
    key = read_card_key({KEY_VARIABLE: CARD_KEY})
    report = json.loads((planted.folder / "data/03_primary/canaries/validation_report.json").read_text())
    assert report["card_key_id"] == key.id
    assert {f["column"] for f in report["findings"] if f["kind"] == "card_number"} >= {"user_id", "category"}
    assert key.id in (planted.folder / "data/08_reporting/canaries/validation.html").read_text()
    for path in planted.folder.rglob("data/0[2-8]*/**/*.*"):
        assert CARD_KEY not in path.read_bytes().decode("latin-1"), path


def test_run_without_a_key_stops_before_it_writes(planted):
    result = planted.run("--pipelines=ingest", "--params=ledger_name=without_key", key=None)
    assert result.returncode != 0
    told = result.stdout + result.stderr
    assert re.search(r"row 2, column customer_id: a card number .* Set PANTHER_CARD_KEY", told), told[-2000:]
    assert seen_in(told, CANARIES) == set()
    assert not [path for path in planted.folder.rglob("data/*/without_key/*") if path.is_file()]
    assert planted.written() == {}


def test_search_goes_red_when_nothing_is_replaced(planted, tmp_path):
    """The twin: the same source, the same search, card numbers left as they are."""
    source = DelimitedSource([planted.file], name="raw_transactions")
    schema = planted.schema.model_copy(update={"card_numbers": "allow"})
    map_events(source, schema)[0].collect().write_parquet(tmp_path / "events.parquet")
    assert len(scan(tmp_path, CANARIES)["events.parquet"]) > 300


def test_another_key_makes_every_token_anew(planted, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    source = DelimitedSource([planted.file], name="raw_transactions")
    lazy, account = map_events(source, planted.schema)
    rotated, before = lazy.collect(), planted.table("02_intermediate/canaries/events.parquet")
    assert account["card_numbers"]["key_id"] == read_card_key().id
    for column in ("user_id", "counterparty", "event_id"):
        tokens = [table[column].str.extract(f"({TOKEN_PATTERN})").drop_nulls().unique() for table in (rotated, before)]
        assert tokens[0].len() == tokens[1].len() >= 40
        assert set(tokens[0]).isdisjoint(tokens[1])
    assert seen_in(rotated.write_csv(), CANARIES) == set()


def exceptions(folder: Path, make_schema) -> list[str]:
    """What a run says when it stops, as a terminal shows it: each names something that holds a canary."""
    one, two, three, four = CANARIES[:4]

    def write(name: str, text: str) -> DelimitedSource:
        (folder / name).write_text(text)
        return DelimitedSource([folder / name], name=name)

    schema, row = make_schema(), "1,u,2024-01-01,1,s,k\n"
    stops = {
        "a column twice": lambda: write("twice.csv", f"{one},{one}\n1,2\n").column_names(),
        "another separator": lambda: write("other.csv", f"{'x' * 70}{one};b\n1;2\n").column_names(),
        "columns missing": lambda: map_events(write(f"{two}.csv", f"user,{one}\n1,2\n"), schema),
        "other columns": lambda: map_events(
            write("more.csv", f"id,user,time,amount,shop,kind,{one}\n{row}"), make_schema(header=["id"])
        ),
        "no such file": lambda: DelimitedDataset(filepath=str(folder / f"{three}_.csv")).load(),
        "an option": lambda: DelimitedDataset(filepath=str(folder / f"{three}.csv"), separator=""),
        "no amounts": lambda: map_events(
            write("amounts.csv", f"id,user,time,amount,shop,kind\n1,u,2024-01-01,a {four},s,k\n"), schema
        )[0].collect(),
        "a key twice": lambda: prepare_lookups(
            {"users": write("users.csv", f"id,brand\n{four},a\n{four},b\n")},
            make_schema(joins=[{"table": "users", "match": {"user": "id"}}]).joins,
            "raw_transactions",
        ),
    }
    told = []
    for what, stop in stops.items():
        with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever it is, it is shown)
            stop()
        told.append(what + "".join(traceback.format_exception(caught.value)))
    return told


def test_no_exception_quotes_a_card_number(tmp_path, make_schema):
    for told in exceptions(tmp_path, make_schema):
        assert seen_in(told, CANARIES) == set(), told


def test_exceptions_go_red_when_they_are_not_masked(tmp_path, make_schema, monkeypatch):
    monkeypatch.setattr(errors, "mask_card_numbers", lambda text: text)
    assert sum(bool(seen_in(told, CANARIES)) for told in exceptions(tmp_path, make_schema)) >= 3


@pytest.mark.parametrize(("record", "hits"), [(MaskedRecord, 0), (logging.LogRecord, 1000)])
def test_logged_rows_hold_none_unless_records_are_not_masked(planted, record, hits):
    shown = []
    for i, canary in enumerate(CANARIES):
        row = {"user": spell(canary, i), "amount": 1.5}
        shown.append(logging.Formatter().format(record("x", logging.INFO, "x.py", 1, "row %s", (row,), None)))
    assert len(seen_in("\n".join(shown), CANARIES)) == hits


def requests(event: dict) -> list[tuple[str, str, dict]]:
    """A canary in every place of a request, in turn."""
    asked = []
    for i, canary in enumerate(CANARIES):
        text = spell(canary, i)
        bodies = [
            event | {"user_id": text}, event | {"event_id": text}, event | {"counterparty": text},
            event | {"attributes": {"channel": text}}, event | {"attributes": {"distance": int(canary)}},
            event | {"amount": text}, event | {"event_time": text}, event | {text: "1"}, {"events": [text]},
        ]  # fmt: skip
        paths = [("POST", "/score"), ("POST", "/events"), ("POST", "/next"), ("GET", f"/next?user_id={text}&k=3")]
        body = {"user_id": text} if (path := paths[i % 4])[1] == "/next" else bodies[i // 4 % len(bodies)]
        asked.append((*path, body))
    return asked


@pytest.mark.parametrize("key", [CARD_KEY, None])
def test_no_answer_and_no_log_of_the_service_holds_a_card_number(fake_serving, key, caplog):
    card_key = read_card_key({KEY_VARIABLE: key} if key else {})
    schema = replace(fake_serving.SCHEMA, card_key_id=card_key.id if card_key else None)
    scorer, event = fake_serving.FakeScorer(schema=schema), EventContract(schema, ServingConfig()).example()
    told, statuses = [], set()

    async def converse():
        async with running(lambda: scorer, card_key=card_key) as client:
            for i, (method, path, body) in enumerate(requests(event)):
                scorer.fails_with = RuntimeError(f"card {CANARIES[i]}") if i % 50 == 49 else None
                answer = await client.request(method, path, json=None if method == "GET" else body)
                told.append(answer.text + str(answer.headers))
                statuses.add(answer.status_code)
            scorer.fails_with = None

    with caplog.at_level(logging.DEBUG, logger="panther_pipeline"):
        asyncio.run(converse())
    logged = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("panther")]
    assert seen_in("\n".join(told), CANARIES) == set()
    assert seen_in("\n".join(logged), CANARIES) == set()
    assert len(logged) >= 1000
    assert seen_in(str(scorer.scored + scorer.ingested), CANARIES) == set()
    assert (200 in statuses) == (key is not None)
    if card_key:
        users = {e.user_id for e in scorer.scored + scorer.ingested} - {event["user_id"]}
        assert len(users) > 20
        assert users <= {card_key.token(canary) for canary in CANARIES}
