"""A table of users: by which columns it meets the events, and what it says of them."""

import polars as pl

from panther_pipeline.ledger.cells import text_of
from panther_pipeline.ledger.draft.attributes import choose_attributes
from panther_pipeline.ledger.draft.choice import Choice, words_of
from panther_pipeline.ledger.draft.profile import profile_columns
from panther_pipeline.ledger.draft.sample import Sample


def choose_profiles(events: pl.DataFrame, user_columns: list[str], users: Sample) -> Choice:
    """The `profiles` block for a table of users; null, and why, where no column of it holds the events' users."""
    columns, shares = [], []
    for column in user_columns:
        found = _matching_column(events[column], users.rows.select(users.columns), column)
        if found is None:
            return Choice(unsure=[
                f"{users.path.name}: no column holds the values of {column}. Its columns: {', '.join(users.columns)}. "
                "Name one as profiles.user_id, or join tables (docs/your_ledger.md)"
            ])  # fmt: skip
        columns.append(found[0])
        shares.append(found[1])
    unsure = [] if min(shares) > 0.9 else [f"only {min(shares):.0%} of the events' users are found in {columns}"]
    if users.is_whole and users.rows.select(columns).is_duplicated().any():
        unsure.append(f"{columns} has users more than once: keep one row each")
    described = profile_columns(users.rows)
    used = dict.fromkeys(columns, "the user")
    attributes = choose_attributes(described, used, least_rows_per_value=3)
    value = {"user_id": columns[0] if len(columns) == 1 else columns, "attributes": attributes.value}
    return Choice(
        value=value,
        seen=[f"{', '.join(columns)} holds {min(shares):.0%} of the users", *attributes.seen],
        unsure=unsure,
    )


def _matching_column(ids: pl.Series, users: pl.DataFrame, name: str) -> tuple[str, float] | None:
    wanted = text_of(ids).str.replace(r"\.0+$", "").unique().drop_nulls()
    wanted = wanted.sample(min(wanted.len(), 5000), seed=0)
    best: tuple[float, str, float] | None = None
    for column in users.columns:
        if users[column].dtype.is_nested() or users[column].dtype.is_float():
            continue
        present = text_of(users[column]).unique()
        share = wanted.is_in(present.to_list()).mean()
        alike = len(set(words_of(column).split()) & set(words_of(name).split())) > 0
        distinct = present.len() / max(users.height, 1)  # a column that tells users apart
        score = share + 0.5 * alike + 0.5 * distinct
        if share > 0.3 and (best is None or score > best[0]):
            best = (score, column, share)
    return (best[1], best[2]) if best and best[0] >= 1 else None
