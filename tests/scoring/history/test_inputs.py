"""What of the history each row is given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from panther_pipeline.cache.embed import as_of_rows
from panther_pipeline.cache.states import token_vectors
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.scoring.history.inputs import NUM_TIMES, gather_histories, log_time

from .conftest import NUM_EVENTS, WIDTH, make_backbone


@pytest.fixture(scope="module")
def histories(task, sequences, backbone, history_config, events_config):
    return gather_histories(task, sequences, backbone, history_config, events_config)


@pytest.mark.parametrize("refresh", ["each_event", "daily"])
def test_history_is_the_last_events_that_the_cache_had_seen(
    task, sequences, backbone, history_config, events_config, refresh
):
    config = events_config.model_copy(update={"refresh": refresh})
    tokens = history_config.model_copy(update={"vectors": "tokens"})
    histories = gather_histories(task, sequences, backbone, tokens, config)
    rows = torch.arange(len(task.part_R))
    history_RLX, is_event_RL, _ = histories.gather(rows)
    table_VD = layer_norm(token_vectors(backbone), (WIDTH,), eps=1e-8)
    as_of_N = as_of_rows(sequences, refresh)
    first_N = sequences.first_row_N()
    for r in range(0, len(rows), 7):
        row = int(task.events["row"][r])
        oldest = max(first_N[row], as_of_N[row] - NUM_EVENTS + 1)
        seen = np.arange(oldest, as_of_N[row] + 1) if as_of_N[row] >= 0 else np.empty(0, dtype=int)
        assert int(is_event_RL[r].sum()) == len(seen)
        assert not is_event_RL[r, : NUM_EVENTS - len(seen)].any()
        assert not history_RLX[r, : NUM_EVENTS - len(seen)].any()
        if len(seen):
            found = history_RLX[r, NUM_EVENTS - len(seen) :]
            expected = table_VD[sequences.token_ids_N[seen]]
            torch.testing.assert_close(found[:, :-NUM_TIMES], expected, atol=2e-3, rtol=0)
            age_us = torch.from_numpy(sequences.time_us_N[row] - sequences.time_us_N[seen])
            torch.testing.assert_close(found[:, -1], log_time(age_us))
            gap_us = np.diff(sequences.time_us_N[seen])
            torch.testing.assert_close(found[1:, -2], log_time(torch.from_numpy(gap_us)))


def test_no_vector_is_held_twice(histories, task, sequences):
    assert len(histories.vectors_MC) <= sequences.num_events < int(histories.length_R.sum())
    assert histories.vectors_MC.dtype == torch.float16
    assert histories.vector_width == 2 * WIDTH + NUM_TIMES


def test_nothing_is_computed_without_models(task, sequences, backbone, history_config, events_config):
    off = history_config.model_copy(update={"models": []})
    histories = gather_histories(task, sequences, backbone, off, events_config)
    assert len(histories.vectors_MC) == len(histories.length_R) == 0


def test_factored_backbone_gives_vectors_of_attributes(task, sequences, history_config, events_config):
    histories = gather_histories(task, sequences, make_backbone("factored"), history_config, events_config)
    own_RD = histories.own_RD.float()
    assert torch.isfinite(own_RD).all()
    kinds = torch.from_numpy(sequences.token_ids_N[task.events["row"].to_numpy()])
    assert len(own_RD[kinds == 1].unique(dim=0)) == 1 < len(own_RD.unique(dim=0))


def test_sequences_of_another_ledger_are_refused(task, sequences, backbone, history_config, events_config):
    shifted = replace(sequences, time_us_N=sequences.time_us_N + 1)
    with pytest.raises(ConfigurationError, match="another version of valid_events"):
        gather_histories(task, shifted, backbone, history_config, events_config)


def test_log_time_is_finite_and_grows():
    times = torch.tensor([-5, 0, 10**6, 3600 * 10**6, 31_557_600 * 10**6])
    found = log_time(times)
    assert found[0] == found[1] == 0
    assert found[-1] == pytest.approx(1.0)
    assert (found[1:].diff() > 0).all()
