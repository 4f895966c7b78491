"""Rows of the task that share a forward pass."""

import numpy as np
import pytest
import torch

from panther_pipeline.cache.embed import as_of_rows
from panther_pipeline.cache.states import as_of_states
from panther_pipeline.scoring.task import FIT
from panther_pipeline.scoring.tuning.windows import FitWindows


@pytest.fixture(params=["each_event", "daily"])
def rows_and_as_of(case, request):
    rows = case.task.rows(FIT)
    return rows, as_of_rows(case.sequences, request.param)[case.task.events["row"].to_numpy()[rows]]


def test_every_row_reads_the_state_that_the_cache_holds(case, rows_and_as_of):
    rows, as_of = rows_and_as_of
    fit = FitWindows.of(rows, as_of, case.sequences, case.backbone.max_events)
    cached = dict(zip(rows, as_of_states(case.backbone, case.sequences, as_of, 64, None), strict=True))
    seen = []
    for batch in fit.epoch(7, None, np.random.default_rng(0)):
        with torch.no_grad():
            h_mD = fit.plan.states(case.backbone, case.sequences, batch.windows_B).numpy()
        with_history = batch.rows_r[: len(batch.state_r)]
        np.testing.assert_allclose(h_mD[batch.state_r], [cached[row] for row in with_history], atol=1e-5)
        assert not any(cached[row].any() for row in batch.rows_r[len(batch.state_r) :])
        seen += batch.rows_r.tolist()
    assert sorted(seen) == rows.tolist()


def test_short_epoch_takes_so_many_windows_and_others_each_time(case, rows_and_as_of):
    fit = FitWindows.of(*rows_and_as_of, case.sequences, case.backbone.max_events)
    epochs = [[b.windows_B for b in fit.epoch(4, 10, np.random.default_rng(seed))] for seed in (0, 0, 1)]
    drawn = [np.concatenate(windows) for windows in epochs]
    assert [len(windows) for windows in epochs[0]] == [4, 4, 2] or sorted(map(len, epochs[0])) == [2, 4, 4]
    assert len(set(drawn[0])) == 10
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert set(drawn[0]) != set(drawn[2])
