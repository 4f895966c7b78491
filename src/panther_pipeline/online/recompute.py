"""States of a few users computed anew by the backbone, and what they expect: the only part of `online` with torch.

Shape letters: A states, W windows, T context, K likeliest next transactions, F token attributes, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from panther_pipeline.cache.as_of import window_start
from panther_pipeline.cache.deviation import Forecasts, deviate, forecast
from panther_pipeline.cache.users import likeliest_next
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.online.history import CachedForecast, UserHistory

_WINDOWS_PER_PASS = 64
_FORECASTS_PER_PASS = 256  # their memory grows with the vocabulary

Place = tuple[int, int]  # which of the histories, and a position in it


def forecast_states(
    backbone: Backbone, histories: Sequence[UserHistory], wanted: Sequence[Place], num_next: int
) -> list[CachedForecast]:
    """The forecasts after some events.

    Args:
        backbone: in evaluation mode.
        histories: of any users.
        wanted: the events; sorted.
        num_next: likeliest next transactions kept.
    """
    h_AD = _compute_states(backbone, histories, wanted)
    found: list[CachedForecast] = []
    for start in range(0, len(wanted), _FORECASTS_PER_PASS):
        part = slice(start, start + _FORECASTS_PER_PASS)
        found += _forecast(backbone, h_AD[part], [position for _, position in wanted[part]], num_next)
    return found


def deviate_one(backbone: Backbone, cached: CachedForecast, token_id: int, attribute_ids_F: np.ndarray) -> list[float]:
    """Surprise in nats and cosine of one event, by `deviate` itself."""
    one = Forecasts(
        h_CD=torch.from_numpy(np.array(cached.embedding_D))[None],
        expected_CD=torch.from_numpy(np.array(cached.expected_D))[None],
        log_normaliser_C=torch.tensor([cached.log_normaliser]),
    )
    ids_CF = torch.from_numpy(np.asarray(attribute_ids_F, np.int64))[None]
    with torch.inference_mode():
        found = deviate(backbone, one, torch.tensor([token_id]), ids_CF)
    return [float(number_C) for number_C in found]


def rank_next(backbone: Backbone, cached: CachedForecast, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and probabilities of the likeliest next transactions."""
    with torch.inference_mode():
        h_1D = torch.from_numpy(np.array(cached.embedding_D))[None].to(backbone.device)
        ids, probs = likeliest_next(backbone, forecast(backbone, h_1D), num)
    return ids[0].cpu().numpy(), probs[0].cpu().numpy()


def _compute_states(backbone: Backbone, histories: Sequence[UserHistory], wanted: Sequence[Place]) -> Tensor:
    """h_AD: states of one user and block are read off one window, windows of like length in one pass."""
    windows: dict[Place, list[int]] = {}
    for number, (h, position) in enumerate(wanted):
        windows.setdefault((h, int(window_start(position, backbone.max_events))), []).append(number)
    by_length = sorted(windows.items(), key=lambda window: wanted[window[1][-1]][1] - window[0][1])
    h_AD = torch.empty(len(wanted), backbone.config.dim)
    for start in range(0, len(by_length), _WINDOWS_PER_PASS):
        chunk = by_length[start : start + _WINDOWS_PER_PASS]
        bounds = [(h, first, wanted[numbers[-1]][1] + 1) for (h, first), numbers in chunk]
        batch = _batch_of([(histories[h], first, stop) for h, first, stop in bounds]).to(backbone.device)
        with torch.inference_mode():
            h_WTD = backbone(batch).float().cpu()
        for row, ((_, first), numbers) in enumerate(chunk):
            h_AD[numbers] = h_WTD[row, [wanted[number][1] - first for number in numbers]]
    return h_AD


def _forecast(backbone: Backbone, h_AD: Tensor, positions: list[int], num_next: int) -> list[CachedForecast]:
    with torch.inference_mode():
        expected = forecast(backbone, h_AD.to(backbone.device))
        likeliest, probs = likeliest_next(backbone, expected, num_next)
    columns = (expected.h_CD, expected.expected_CD, expected.log_normaliser_C, likeliest, probs)
    rows = zip(positions, *(column.cpu().numpy() for column in columns), strict=True)
    return [
        CachedForecast(
            position=position,
            embedding_D=h_D,
            expected_D=expected_D,
            log_normaliser=float(normaliser),
            likeliest=likeliest_K.astype(np.int32),
            probs_K=probs_K,
        )
        for position, h_D, expected_D, normaliser, likeliest_K, probs_K in rows
    ]


def _batch_of(windows: list[tuple[UserHistory, int, int]]) -> EventBatch:
    """Events first to stop - 1 of each history, positions counted from the user's first event."""
    parts = []
    for history, first, stop in windows:
        assert first >= history.num_older, "a state was asked for that reads forgotten events"
        parts.append(slice(first - history.num_older, stop - history.num_older))
    histories = [history for history, _, _ in windows]
    return EventBatch.from_arrays(
        token_ids=[h.token_ids_R[part] for h, part in zip(histories, parts, strict=True)],
        attribute_ids=[h.attribute_ids_RF[part] for h, part in zip(histories, parts, strict=True)],
        time_us=[h.time_us_R[part] for h, part in zip(histories, parts, strict=True)],
        profile_ids=[h.profile_ids_P for h in histories],
    )
