"""What a stack of pattern recognition blocks reads: sums of its convolutions' lags, one per layer, and nothing else.

Everything but the convolution works on each event by itself, so that L layers read exactly the events at distance
lag_1 + ... + lag_L (with 0 for the event itself, which the residual keeps).
"""

from dataclasses import replace
from itertools import product

import pytest
import torch

NEWEST = 31
CASES = [
    ({"convolution": "dilated", "kernel_size": 3, "dilations": [1, 2]}, {0, 1, 2, 4}),
    ({"convolution": "dilated", "kernel_size": 2, "dilations": [5]}, {0, 5}),
    ({"convolution": "dilated", "kernel_size": 1, "dilations": [1, 2]}, {0}),
    ({"convolution": "dense", "kernel_size": 3}, {0, 1, 2}),
    ({"convolution": "dense", "kernel_size": 1}, {0}),
]
each_case = pytest.mark.parametrize(("convolution", "lags"), CASES)
each_depth = pytest.mark.parametrize("num_layers", [1, 2, 3])


def field(lags: set[int], num_layers: int) -> set[int]:
    return {sum(path) for path in product(lags, repeat=num_layers)}


@pytest.fixture
def make_stack(make_backbone):
    def make(num_layers: int, convolution: dict):
        return make_backbone(mixer="sprm", time_encoding="none", num_layers=num_layers, **convolution)

    return make


@each_case
@each_depth
def test_gradient_reaches_exactly_the_receptive_field(make_stack, make_batch, convolution, lags, num_layers):
    backbone, batch = make_stack(num_layers, convolution), make_batch(num_windows=1, num_events=NEWEST + 1)
    inputs = []

    def keep(_, __, output):
        output.retain_grad()
        inputs.append(output)

    backbone.embedding.register_forward_hook(keep)
    weights_D = torch.randn(backbone.config.dim, generator=torch.Generator().manual_seed(0))
    (backbone(batch)[0, NEWEST] @ weights_D).backward()
    reached = inputs[0].grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert {NEWEST - position for position in reached} == field(lags, num_layers)


@each_case
@each_depth
def test_state_changes_with_exactly_the_events_of_its_receptive_field(
    make_stack, make_batch, convolution, lags, num_layers
):
    backbone, batch = make_stack(num_layers, convolution), make_batch(num_windows=1, num_events=NEWEST + 1)
    # One window for each event: the same history, in which this event is another one.
    changed_TT = batch.token_ids_BT.repeat(NEWEST + 1, 1)
    changed_TT.diagonal().copy_(batch.token_ids_BT[0] % (backbone.vocab_size - 1) + 1)
    windows = replace(
        batch,
        token_ids_BT=torch.cat([batch.token_ids_BT, changed_TT]),
        **{
            name: getattr(batch, name).expand(NEWEST + 2, *[-1] * (getattr(batch, name).dim() - 1))
            for name in ("attribute_ids_BTF", "time_us_BT", "profile_ids_BP", "lengths_B")
        },
    )
    with torch.no_grad():
        state_BD = backbone(windows)[:, NEWEST]
    is_other_T = (state_BD[1:] != state_BD[0]).any(dim=-1)
    assert {NEWEST - position for position in is_other_T.nonzero().flatten().tolist()} == field(lags, num_layers)
