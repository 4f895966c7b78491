"""Event by event online, and all at once over the ledger: the same surprises, the same forecasts."""

import numpy as np
import pytest

from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.users import forecast_users
from panther_pipeline.online import refresh as refresh_module
from panther_pipeline.online.history import UserHistory

from .conftest import KEEP, arrive, batch_surprises

REFRESHES = ["each_event", "daily", "weekly"]


@pytest.fixture(params=["backbone", "factored"])
def model(request):
    return request.getfixturevalue(request.param)


def empty(sequences, user: int) -> UserHistory:
    return UserHistory.empty(sequences.profile_ids_UP[user], sequences.attribute_ids_NF.shape[1])


def replay(
    sequences, user: int, refresher, rows: list[int], every: int = 1, keep: int = KEEP
) -> tuple[UserHistory, dict[str, float]]:
    """Let events arrive, refresh after every few, forget what need not be kept; also the surprises seen on the way."""
    history, seen = empty(sequences, user), {}
    for number, row in enumerate(rows, 1):
        history = arrive(history, sequences, row)
        if number % every == 0 or number == len(rows):
            (history,) = refresher.refresh_histories([history])
            seen |= dict(zip(history.event_ids, history.surprise_R.tolist(), strict=True))
            history = history.forget(refresher.first_kept(history, keep))
    return history, seen


@pytest.mark.parametrize("refresh", REFRESHES)
@pytest.mark.parametrize("every", [1, 7])
def test_replayed_surprises_equal_those_of_the_ledger(model, sequences, make_refresher, refresh, every):
    expected_N = batch_surprises(model, sequences, refresh)
    for user in range(sequences.num_users):
        rows = list(range(*sequences.offsets_U1[user : user + 2]))
        history, seen = replay(sequences, user, make_refresher(model, refresh), rows, every)
        assert list(seen) == [str(row) for row in rows]
        np.testing.assert_allclose(list(seen.values()), expected_N[rows], rtol=0, atol=1e-5)
        assert history.num_events == len(rows)
        count, total, squares = history.past_surprises(history.num_kept)
        assert count == len(rows)
        assert total / 2**16 == pytest.approx(expected_N[rows].sum(), abs=1e-3)
        assert squares / 2**32 == pytest.approx(np.square(expected_N[rows]).sum(), abs=1e-2)


def test_replayed_forecast_equals_that_of_the_ledger(model, sequences, make_refresher):
    config = UserEmbeddingConfig(as_of=None, num_next_transactions=3, batch_size=4)
    expected = forecast_users(model, sequences, config)
    refresher = make_refresher(model)
    for u, user in enumerate(expected.user_ix_U):
        rows = list(range(*sequences.offsets_U1[user : user + 2]))
        forecast = replay(sequences, user, refresher, rows)[0].forecast
        assert forecast.position == len(rows) - 1
        np.testing.assert_allclose(forecast.embedding_D, expected.embedding_UD[u], rtol=0, atol=1e-5)
        np.testing.assert_allclose(forecast.expected_D, expected.expected_UD[u], rtol=0, atol=1e-5)
        np.testing.assert_allclose(forecast.probs_K, expected.probs_UK[u], rtol=0, atol=1e-5)
        assert forecast.likeliest.tolist() == expected.likeliest[u].tolist()


def test_users_refreshed_together_do_not_move_each_other(model, sequences, make_refresher):
    refresher = make_refresher(model)
    histories = []
    for user in range(sequences.num_users):
        history = empty(sequences, user)
        for row in range(*sequences.offsets_U1[user : user + 2]):
            history = arrive(history, sequences, row)
        histories.append(history)
    together = refresher.refresh_histories(histories)
    for history, both in zip(histories, together, strict=True):
        (alone,) = refresher.refresh_histories([history])
        np.testing.assert_allclose(alone.surprise_R, both.surprise_R, rtol=0, atol=1e-5)
        assert (alone.forecast is None) == (both.forecast is None) == (history.num_events == 0)


@pytest.mark.parametrize("refresh", REFRESHES)
def test_late_events_converge(model, sequences, make_refresher, refresh):
    """In whatever order the last events arrive, and whenever the cache is refreshed between them."""
    user, refresher = 6, make_refresher(model, refresh)
    rows = list(range(*sequences.offsets_U1[user : user + 2]))
    keep = 64 if refresh == "weekly" else KEEP  # a late event of this week reads a state of the last
    expected, _ = replay(sequences, user, refresher, rows, keep=keep)
    rng = np.random.default_rng(5)
    for every in (1, 3):
        shuffled = rows[:-6] + rng.permutation(rows[-6:]).tolist()
        history, _ = replay(sequences, user, refresher, shuffled, every, keep)
        assert list(history.event_ids)[-KEEP:] == list(expected.event_ids)[-KEEP:]
        np.testing.assert_allclose(history.surprise_R[-KEEP:], expected.surprise_R[-KEEP:], rtol=0, atol=1e-5)
        np.testing.assert_allclose(history.forecast.embedding_D, expected.forecast.embedding_D, rtol=0, atol=1e-5)
        for sums, scale in zip(range(3), (1, 2**16, 2**32), strict=True):
            got, asked = (h.past_surprises(h.num_kept)[sums] / scale for h in (history, expected))
            assert got == pytest.approx(asked, abs=1e-3)


def test_event_that_reads_forgotten_events_cannot_be_measured(backbone, sequences, make_refresher):
    refresher = make_refresher(backbone)
    history, _ = replay(sequences, 6, refresher, list(range(*sequences.offsets_U1[6:8])))
    assert history.num_older == 70 - KEEP
    assert refresher.can_measure(history, history.num_kept)
    assert not refresher.can_measure(history, 0)
    # The first event of the kept ones whose window begins among them: event 56 begins the block before which 48 begins.
    places = [place for place in range(history.num_kept) if refresher.can_measure(history, place)]
    assert places == list(range(57 - history.num_older, history.num_kept))


def test_cached_forecast_spares_its_state(backbone, sequences, make_refresher, monkeypatch):
    refresher = make_refresher(backbone)
    history, _ = replay(sequences, 5, refresher, list(range(*sequences.offsets_U1[5:7]))[:-1])
    asked = []
    compute = refresh_module.Refresher._compute
    monkeypatch.setattr(refresh_module.Refresher, "_compute", lambda self, h, w: asked.extend(w) or compute(self, h, w))
    refresher.refresh_histories([arrive(history, sequences, int(sequences.offsets_U1[6]) - 1)])
    assert asked == [(0, 39)], "the state before the event is in the cache, only that after it is new"
