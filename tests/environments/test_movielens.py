"""The MovieLens ledger: an order without times, a joined table without header, the published split."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest

from panther_pipeline.metrics.config import RankingConfig

AGES = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 and over"}


@pytest.fixture(scope="module")
def ledger(read_ledger):
    return read_ledger("movielens")


@pytest.fixture(scope="module")
def ratings(shared_data):
    return pd.read_parquet(shared_data / "movielens_1m/ratings_ordered.parquet")


def read_dat(path, names):
    return pd.read_csv(
        path, sep="::", engine="python", encoding="latin-1", header=None, names=names, dtype=str, quoting=3
    )


def test_every_row_is_accepted(ledger):
    _, account = ledger.mapped
    assert [(f["lines"], f["header"], f["rows"]) for f in account["files"]] == [(1000209, 0, 1000209)]
    assert ledger.count_by_reason() == {}
    assert ledger.valid_events.height == 1000209
    assert (ledger.valid_events["user_id"].n_unique(), ledger.valid_events["film"].n_unique()) == (6040, 3706)


def test_events_are_the_ratings_with_the_film_looked_up(ledger, ratings, shared_data):
    films = read_dat(shared_data / "movielens_1m/movies.dat", ["MovieID", "Title", "Genres"]).set_index("MovieID")
    expected = ratings.assign(film=ratings["MovieID"].astype(str)).join(films, on="film")
    events = ledger.events
    assert events["user_id"].to_list() == ratings["UserID"].astype(str).tolist()
    assert events["film"].to_list() == expected["film"].tolist()
    assert events["rating"].to_list() == ratings["Rating"].astype(float).tolist()
    assert events["title"].to_list() == expected["Title"].tolist()
    assert events["genres"].to_list() == expected["Genres"].tolist()
    assert events["title"].null_count() == 0
    assert "Misérables, Les (1995)" in events["title"].unique().to_list()  # latin-1


def test_events_stand_in_the_order_of_the_ratings(ledger, ratings):
    ordered = ratings.assign(user=ratings["UserID"].astype(str)).sort_values(["user", "Order"], kind="stable")
    assert ledger.valid_events["film"].to_list() == ordered["MovieID"].astype(str).tolist()
    assert ledger.valid_events["event_seq"].to_list() == ordered["Order"].tolist()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert ledger.events["event_time"][2] == epoch + timedelta(seconds=int(ratings["Order"][2]))


def test_there_is_neither_money_nor_label(ledger):
    for name in ("amount_cents", "counterparty", "label", "label_time"):
        assert ledger.events[name].null_count() == ledger.events.height
    assert ledger.user_labels.is_empty()


def test_profiles_are_decoded(ledger, shared_data):
    raw = read_dat(shared_data / "movielens_1m/users.dat", ["UserID", "Gender", "Age", "Occupation", "Zip"])
    occupations = ledger.schema.profiles.attributes[2].map
    genders = {"F": "woman", "M": "man"}
    expected = {
        row.UserID: (genders[row.Gender], AGES[int(row.Age)], occupations[row.Occupation], row.Zip[0])
        for row in raw.itertuples()
    }
    assert {user: tuple(rest) for user, *rest in ledger.profiles.iter_rows()} == expected
    assert len(expected) == 6040
    assert (occupations["12"], occupations["10"]) == ("programmer", "K-12 student")  # as the source's README has it


def test_last_film_of_every_user_is_the_test(ledger, ratings):
    assert ledger.count_by_split() == {"train": 1000209 - 2 * 6040, "valid": 6040, "test": 6040}
    last = ledger.valid_events.group_by("user_id").agg(pl.col("film").last())
    newest = ratings.loc[ratings.groupby("UserID")["Order"].idxmax()]
    assert dict(last.rows()) == dict(zip(newest["UserID"].astype(str), newest["MovieID"].astype(str), strict=True))


def test_films_rated_before_are_no_candidates_and_never_come_again(ledger):
    assert RankingConfig(**ledger.parameters["evaluation"]["ranking"]).exclude_seen
    assert not ledger.valid_events.select("user_id", "film").is_duplicated().any()


def test_model_knows_order_alone(ledger):
    assert ledger.parameters["pretraining"]["model"]["time_encoding"] == "none"
    fields = ledger.parameters["tokenizer"]["vocabulary"]["fields"]
    assert [field["source"] for field in fields] == ["category"]
    assert fields[0]["max_categories"] >= 3706


def test_parameters_fit_the_ledger(ledger, assert_fits):
    assert_fits(ledger)
