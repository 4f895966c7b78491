"""The folded attention is the textbook's."""

import torch

from panther_pipeline.scoring.history.attention import RecentAttention
from panther_pipeline.scoring.history.config import AttentionConfig


def test_result_is_that_of_a_loop_over_heads_and_events():
    torch.manual_seed(0)
    config = AttentionConfig(num_heads=2, head_width=3, query_width=4)
    pool = RecentAttention(3, 2, 5, 2, 6, config).eval()
    torch.nn.init.normal_(pool.rank_bias_HL)
    z, e, history, own = torch.randn(1, 3), torch.randn(1, 2), torch.randn(1, 6, 5), torch.randn(1, 2)
    is_event = torch.tensor([[False, False, True, True, True, True]])
    query_HX = pool.query(torch.cat([z, e, own], dim=1)).reshape(2, 5)
    expected = []
    for head in range(2):
        scores = [query_HX[head] @ history[0, at] / 5**0.5 + pool.rank_bias_HL[head, at] for at in range(2, 6)]
        weights = torch.stack(scores).softmax(0)
        values = history[0, 2:] @ pool.value_HXV[head]
        expected.append(weights @ values)
    torch.testing.assert_close(pool(z, e, history, is_event, own)[0], torch.cat(expected))


def test_padding_is_not_read():
    torch.manual_seed(1)
    pool = RecentAttention(3, 2, 5, 2, 6, AttentionConfig(num_heads=2, head_width=3, query_width=4)).eval()
    z, e, history, own = torch.randn(9, 3), torch.randn(9, 2), torch.randn(9, 6, 5), torch.randn(9, 2)
    is_event = torch.arange(6) >= 6 - torch.arange(9)[:, None].clamp(max=6)
    clean, dirty = (torch.where(is_event[..., None], history, fill) for fill in (0.0, 100.0))
    assert torch.equal(pool(z, e, clean, is_event, own), pool(z, e, dirty, is_event, own))
