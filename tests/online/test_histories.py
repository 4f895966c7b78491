"""The histories of a finished run are those that replaying it event by event would have left."""

import numpy as np
import polars as pl
import pytest

from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.users import forecast_users
from panther_pipeline.online.histories import build_histories

from .conftest import KEEP, batch_surprises
from .test_refresh import replay


def build(backbone, sequences, refresh: str, as_of: str | None = None):
    config = UserEmbeddingConfig(as_of=as_of, num_next_transactions=3, batch_size=4)
    forecasts = forecast_users(backbone, sequences, config)
    ids = pl.Series([str(row) for row in range(sequences.num_events)])
    surprises = batch_surprises(backbone, sequences, refresh)
    return forecasts.as_of_us, dict(
        build_histories(
            sequences, surprises, ids, forecasts, refresh=refresh, num_recent=KEEP, max_events=backbone.max_events
        )
    )


@pytest.mark.parametrize("refresh", ["each_event", "daily", "weekly"])
@pytest.mark.parametrize("as_of", [None, "2023-11-25T03:00:00", "2023-11-20"])
def test_built_histories_equal_replayed_ones(backbone, sequences, make_refresher, refresh, as_of):
    as_of_us, built = build(backbone, sequences, refresh, as_of)
    refresher, lengths = make_refresher(backbone, refresh), []
    for user, user_id in enumerate(sequences.user_ids):
        rows = [r for r in range(*sequences.offsets_U1[user : user + 2]) if sequences.time_us_N[r] < as_of_us]
        replayed, _ = replay(sequences, user, refresher, rows)
        history = built[user_id]
        assert history.num_events == len(rows)
        assert history.event_ids == replayed.event_ids
        np.testing.assert_array_equal(history.time_us_R, replayed.time_us_R)
        np.testing.assert_array_equal(history.attribute_ids_RF, replayed.attribute_ids_RF)
        np.testing.assert_allclose(history.surprise_R, replayed.surprise_R, rtol=0, atol=1e-5)
        kept = history.num_kept
        np.testing.assert_allclose(history.past_surprises(kept), replayed.past_surprises(kept), rtol=1e-5)
        if refresh == "each_event" and rows:
            assert history.forecast.position == replayed.forecast.position
            np.testing.assert_allclose(history.forecast.embedding_D, replayed.forecast.embedding_D, rtol=0, atol=1e-5)
        lengths.append(history.num_older)
    assert max(lengths) > 0 or as_of is not None, "some history must be longer than what is kept"
