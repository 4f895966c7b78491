"""P19: a source whose columns change is read as before or refused by name; unseen values are counted, no error."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.errors import SourceError
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.coverage import measure_coverage
from panther_pipeline.tokenizer.fields import UNKNOWN, FittedField
from panther_pipeline.tokenizer.tokenizer import Tokenizer

NUM_ROWS = 1000
NUM_TEST = 400  # events after training
SPLITS = SplitConfig(
    protocol="time", train_end="2024-07-01", valid_end="2024-07-02", test_end=None, embargo_days=0.0,
    test_share=None, valid_share=None, held_out_user_share=0.0,
)  # fmt: skip
FIELDS = ["kind", "shop", "amount"]
VOCABULARY = VocabularyConfig(
    fields=[
        FieldConfig(name="kind", source="category", column="category", kind="categorical", max_categories=5),
        FieldConfig(name="shop", source="counterparty", kind="categorical", max_categories=5),
        FieldConfig(name="amount", source="amount", kind="quantile", num_bins=4),
    ],
    zone="UTC", max_tokens=None, coverage_target=None, min_count=1, max_dropped=2, profile_max_categories=5,
    profile_num_bins=2,
)  # fmt: skip


def build_table() -> pl.DataFrame:
    """600 events in training, 400 after it; text throughout."""
    rng = np.random.default_rng(19)
    late = np.arange(NUM_ROWS) >= NUM_ROWS - NUM_TEST
    months, days = np.where(late, "09", "03"), rng.integers(1, 29, NUM_ROWS)
    return pl.DataFrame({
        "id": [str(i) for i in range(NUM_ROWS)],
        "user": [f"{i % 20}" for i in range(NUM_ROWS)],
        "time": [f"2024-{month}-{day:02} 12:00:00" for month, day in zip(months, days, strict=True)],
        "amount": [f"{cents / 100:.2f}" for cents in rng.integers(1, 10**5, NUM_ROWS)],
        "shop": np.array(["s1", "s2", "s3"])[rng.integers(0, 3, NUM_ROWS)],
        "kind": np.array(["1", "2", "3"])[rng.integers(0, 3, NUM_ROWS)],
        "unused": ["x"] * NUM_ROWS,
    })  # fmt: skip


TABLE = build_table()
SAME = "the same log"
# What happens to the columns → the same log, or what the refusal says.
DRIFTS = {
    "a column more": (lambda t: t.with_columns(new=pl.lit("x")), SAME),
    "columns in another order": (lambda t: t.select(sorted(t.columns, reverse=True)), SAME),
    "an unused column less": (lambda t: t.drop("unused"), SAME),
    "an unused column renamed": (lambda t: t.rename({"unused": "spare"}), SAME),
    "a used column less": (lambda t: t.drop("shop"), r"lacks 1 declared column: 'shop' \(ledger.schema.counterparty\)"),
    "a used column renamed": (lambda t: t.rename({"kind": "Kind"}), r"'kind' .*, did you mean 'Kind'\?"),
    "two used columns renamed": (lambda t: t.rename({"kind": "a", "shop": "b"}), "lacks 2 declared columns"),
    "ids as integers": (lambda t: t.cast({"user": pl.Int32, "id": pl.UInt64}), SAME),
    "ids as categories": (lambda t: t.cast({"user": pl.Categorical}), SAME),
    "ids as floats": (lambda t: t.cast({"user": pl.Float64}), r"column 'user' .* holds Float64 values"),
    "ids as text of floats": (lambda t: t.with_columns(pl.col("user") + ".0"), "written as decimal numbers"),
    "ids in scientific notation": (lambda t: t.with_columns(id=pl.lit("1.5E+15")), "scientific notation"),
    "ids emptied": (lambda t: t.with_columns(user=pl.lit("")), "not one of 1000 rows has a user id"),
    "amounts as floats": (lambda t: t.cast({"amount": pl.Float64}), SAME),
    "amounts as decimals": (lambda t: t.cast({"amount": pl.Decimal(20, 2)}), SAME),
    "amounts with a currency": (lambda t: t.with_columns(pl.col("amount") + " EUR"), "has an amount in column"),
    "amounts with a comma": (
        lambda t: t.with_columns(pl.col("amount").str.replace(".", ",", literal=True)), "has an amount",
    ),
    "times as datetimes": (lambda t: t.with_columns(pl.col("time").str.to_datetime()), SAME),
    "times in milliseconds, with a zone": (
        lambda t: t.with_columns(pl.col("time").str.to_datetime(time_unit="ms", time_zone="UTC")), SAME,
    ),
    "times as numbers": (lambda t: t.with_columns(time=pl.lit(1_700_000_000)), "a time must be a datetime, or text"),
    "times in another format": (lambda t: t.with_columns(time=pl.lit("01.02.2024")), "has a time in column 'time'"),
    "categories as integers": (lambda t: t.cast({"kind": pl.Int8}), SAME),
    "categories as floats": (lambda t: t.cast({"kind": pl.Float32}), "a category must be text or an integer"),
    "no rows": (lambda t: t.clear(), "has no rows"),
}  # fmt: skip


@pytest.fixture(scope="module")
def expected(settle, digest):
    return digest(settle(TABLE).log)


def outcome(settle, digest, table, expected, told) -> bool:
    try:
        return digest(settle(table).log) == expected and told == SAME
    except SourceError as error:
        return told != SAME and pl.Series([str(error)]).str.contains(told)[0]


def test_drift_of_columns_ends_as_the_table_says(settle, digest, expected):
    wrong = [
        name for name, (drift, told) in DRIFTS.items() if not outcome(settle, digest, drift(TABLE), expected, told)
    ]
    print(f"\nP19 {len(DRIFTS) - len(wrong)} of {len(DRIFTS)} drifts of columns end as the table says / {len(DRIFTS)}")
    assert wrong == []


@pytest.mark.parametrize("name", ["a column more", "an unused column less", "an unused column renamed"])
def test_declared_header_lets_no_drift_pass(name, settle):
    settle(TABLE[:, ::-1], header=TABLE.columns)  # the order does not matter
    with pytest.raises(SourceError, match="the header is not the declared one"):
        settle(DRIFTS[name][0](TABLE), header=TABLE.columns)


@pytest.fixture(scope="module")
def tokenizer(settle):
    return Tokenizer.fit(settle(TABLE).valid_events, pl.DataFrame(), VOCABULARY, SPLITS)


def unseen(field: str, number: int) -> pl.DataFrame:
    """The table with a value never seen before in `number` of the events after training."""
    is_new = pl.int_range(pl.len()) >= NUM_ROWS - number
    return TABLE.with_columns(pl.when(is_new).then(pl.lit("never seen")).otherwise(field).alias(field))


def encode(settle, tokenizer, table):
    sequences = build_sequences(settle(table).valid_events, pl.DataFrame(), tokenizer, SPLITS)
    return sequences, measure_coverage(sequences, tokenizer)


@pytest.mark.parametrize("field", ["kind", "shop"])
@pytest.mark.parametrize("number", [0, 10, 20, 21, 100, NUM_TEST])
def test_unseen_values_are_unknown_and_counted(field, number, settle, tokenizer):
    sequences, report = encode(settle, tokenizer, unseen(field, number))
    ids = sequences.attribute_ids_NF[:, FIELDS.index(field)]
    assert int((ids == UNKNOWN).sum()) == number
    assert (sequences.token_ids_N > 0).all()
    test = next(record for record in report["splits"] if record["split"] == "test")
    assert test["unknown_rates"][field] == pytest.approx(number / NUM_TEST)
    flagged = {(d["field"], d["group"]) for d in report["drift"] if d["unknown_rate"] - d["train_unknown_rate"] > 0.05}
    assert flagged == ({(field, "test"), (field, "2024-09")} if number / NUM_TEST > 0.05 else set())


def test_drift_is_flagged_above_five_percent_only(settle, tokenizer):
    shares = [0, 10, 20, 21, 100, NUM_TEST]
    flags = [bool(encode(settle, tokenizer, unseen("kind", n))[1]["drift"]) for n in shares]
    right = sum(flag == (n / NUM_TEST > 0.05) for flag, n in zip(flags, shares, strict=True))
    print(f"\nP19 {right} of {len(shares)} shares of unseen values are flagged as they must / {len(shares)}")
    assert right == len(shares)


def test_every_field_unseen_at_once_is_the_unknown_token(settle, tokenizer):
    table = TABLE.with_columns(kind=pl.lit("new"), shop=pl.lit("new"), amount=pl.lit("0.00"))
    sequences, report = encode(settle, tokenizer, table)
    assert (sequences.attribute_ids_NF[:, :2] == UNKNOWN).all()
    assert (sequences.attribute_ids_NF[:, 2] > UNKNOWN).all()  # an amount below all others is in the lowest bin
    assert report["splits"][0]["unknown_rates"] == {"kind": 1.0, "shop": 1.0, "amount": 0.0}


def test_unseen_value_of_one_event_is_unknown_too(settle, tokenizer):
    row = settle(unseen("kind", 1)).valid_events.filter(pl.col("category") == "never seen").row(0, named=True)
    _, attribute_ids = tokenizer.encode_event(row)
    assert attribute_ids[0] == UNKNOWN


def test_guard_notices_a_dropped_unknown(settle, tokenizer, monkeypatch):
    stock = FittedField.encode
    monkeypatch.setattr(FittedField, "encode", lambda self, values: np.maximum(stock(self, values), UNKNOWN + 1))
    sequences, report = encode(settle, tokenizer, unseen("kind", 100))
    assert int((sequences.attribute_ids_NF[:, 0] == UNKNOWN).sum()) != 100
    assert not [d for d in report["drift"] if d["unknown_rate"] > 0.05]


def test_guard_notices_columns_taken_by_position(settle, digest, expected, monkeypatch):
    from panther_pipeline.ledger.source import TableSource

    def by_position(self):  # the sabotage: names are those of the first delivery, whatever the header says
        self._table = self._table.rename(dict(zip(self._table.columns, TABLE.columns, strict=False)))
        return self._table.columns

    monkeypatch.setattr(TableSource, "column_names", by_position)
    drift, told = DRIFTS["columns in another order"]
    assert not outcome(settle, digest, drift(TABLE), expected, told)
