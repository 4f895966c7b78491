"""All users' histories as of one instant, from the sequences of a finished run.

Shape letters: N events, U users, R events kept.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from panther_pipeline.cache.as_of import window_start
from panther_pipeline.cache.embed import as_of_rows
from panther_pipeline.cache.surprises import to_fixed_point
from panther_pipeline.cache.users import UserForecasts
from panther_pipeline.online.event_ids import EventIds
from panther_pipeline.online.history import CachedForecast, UserHistory
from panther_pipeline.tokenizer.sequences import TokenSequences


def build_histories(
    sequences: TokenSequences,
    surprise_N: np.ndarray,
    event_ids_N: pl.Series,
    forecasts: UserForecasts,
    *,
    refresh: str,
    num_recent: int,
    max_events: int,
) -> Iterator[tuple[str, UserHistory]]:
    """What `Refresher` makes of each user's events before the instant of the forecasts, without replaying them.

    Args:
        sequences: all histories.
        surprise_N: float32, of all events, from `cache.embed.measure_surprises` with the same `refresh`.
        event_ids_N: of all events.
        forecasts: of all users with an event before the instant.
        refresh: how often the cache is renewed.
        num_recent: R, at least `max_events`; more are kept where a state of a cache renewed by the clock reads them.
        max_events: longest history the backbone reads.

    Yields:
        (user_id, history) of every user of the sequences, in their order.
    """
    last_U = sequences.offsets_U1[:-1] - 1
    last_U[forecasts.user_ix_U] = forecasts.last_row_U
    first_kept_U = _first_kept(sequences, last_U, refresh, num_recent, max_events)
    fixed_N = to_fixed_point(surprise_N)
    sums_N1, squares_N1 = (np.concatenate([[0], np.cumsum(values)]) for values in (fixed_N, np.square(fixed_N)))
    forecast_of = dict(zip(forecasts.user_ix_U.tolist(), range(len(forecasts.user_ix_U)), strict=True))
    for u, user_id in enumerate(sequences.user_ids):
        start, kept, stop = int(sequences.offsets_U1[u]), int(first_kept_U[u]), int(last_U[u]) + 1
        yield (
            user_id,
            UserHistory(
                profile_ids_P=sequences.profile_ids_UP[u],
                num_events=stop - start,
                time_us_R=sequences.time_us_N[kept:stop],
                token_ids_R=sequences.token_ids_N[kept:stop],
                attribute_ids_RF=sequences.attribute_ids_NF[kept:stop],
                surprise_R=surprise_N[kept:stop],
                event_ids=EventIds.of(event_ids_N[kept:stop].to_list()),
                older_surprise=int(sums_N1[kept] - sums_N1[start]),
                older_squares=int(squares_N1[kept] - squares_N1[start]),
                forecast=_forecast(forecasts, forecast_of[u], start) if u in forecast_of else None,
            ),
        )


def _first_kept(
    sequences: TokenSequences, last_U: np.ndarray, refresh: str, num_recent: int, max_events: int
) -> np.ndarray:
    """Rows of the first events kept, as `Refresher.first_kept` counts them."""
    first_U = sequences.offsets_U1[:-1]
    has_events_U = last_U >= first_U
    newest_U = last_U if refresh == "each_event" else as_of_rows(sequences, refresh)[np.maximum(last_U, 0)]
    needed_U = np.where(newest_U >= first_U, window_start(newest_U - first_U, max_events), 0)
    dropped_U = np.minimum(last_U + 1 - first_U - num_recent, needed_U)
    return np.where(has_events_U, first_U + np.maximum(0, dropped_U), last_U + 1)


def _forecast(forecasts: UserForecasts, place: int, first_row: int) -> CachedForecast:
    return CachedForecast(
        position=int(forecasts.last_row_U[place]) - first_row,
        embedding_D=forecasts.embedding_UD[place],
        expected_D=forecasts.expected_UD[place],
        log_normaliser=float(forecasts.log_normaliser_U[place]),
        likeliest=forecasts.likeliest[place].astype(np.int32),
        probs_K=forecasts.probs_UK[place],
    )
