"""Filters over the history."""

import pytest
import torch

from panther_pipeline.scoring.history.config import TextCNNConfig
from panther_pipeline.scoring.history.textcnn import TextCNN


@pytest.fixture
def pool():
    torch.manual_seed(0)
    return TextCNN(2, TextCNNConfig(widths=[2, 3], num_filters=4), dropout=0.5).eval()


def answer(pool: TextCNN, history: torch.Tensor, is_event: torch.Tensor) -> torch.Tensor:
    return pool(None, None, history, is_event, None)


def test_pool_is_the_highest_answer_of_each_filter(pool):
    history = torch.randn(1, 5, 2)
    expected = []
    for convolution, width in zip(pool.convolutions, (2, 3), strict=True):
        padded = torch.cat([torch.zeros(width - 1, 2), history[0]])
        windows = torch.stack([padded[at : at + width] for at in range(5)])
        answers = torch.einsum("lwx,kxw->lk", windows, convolution.weight) + convolution.bias
        expected.append(answers.relu().amax(0))
    torch.testing.assert_close(answer(pool, history, torch.ones(1, 5, dtype=torch.bool))[0], torch.cat(expected))


def test_more_padding_changes_nothing(pool):
    for convolution in pool.convolutions:
        torch.nn.init.constant_(convolution.bias, 9.0)  # an answer to zeros alone would now be among the highest
    short, is_event = -torch.rand(3, 4, 2), torch.ones(3, 4, dtype=torch.bool)
    for convolution in pool.convolutions:
        torch.nn.init.constant_(convolution.weight, 1.0)
    longer = torch.cat([torch.zeros(3, 7, 2), short], dim=1)
    is_longer = torch.cat([torch.zeros(3, 7, dtype=torch.bool), is_event], dim=1)
    torch.testing.assert_close(answer(pool, longer, is_longer), answer(pool, short, is_event), atol=1e-6, rtol=0)
