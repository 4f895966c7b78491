"""The peers of PANTHER's block, each against its formula written out event by event."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import silu

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.clock import Clock
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.hstu import HstuBlock
from panther_pipeline.model.recurrent import RecurrentMixer

SECOND_US = 1_000_000


def make_clock(config: ModelConfig, *gaps_s: int) -> Clock:
    time_us_BT = 1_700_000_000 * SECOND_US + torch.tensor([gaps_s]).cumsum(1) * SECOND_US
    return Clock.read(time_us_BT, config)


@torch.no_grad()
@pytest.mark.parametrize("time_encoding", ["none", "rotary"])
def test_hstu_block_equals_its_formula(time_encoding):
    torch.manual_seed(0)
    config = ModelConfig(dim=8, num_heads=2, max_events=6, mixer="hstu", time_encoding=time_encoding)
    block = HstuBlock(config).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    gaps_s = [0, 5, 86_400, 30 * 86_400]
    x_TD = torch.randn(4, 8)
    projected = silu(block.gate_value_query_key(block.norm(x_TD)))
    gate, value, query, key = projected.split(8, dim=-1)
    elapsed_s = torch.tensor(gaps_s).cumsum(0)
    for i in range(4):
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            total = torch.zeros(4)
            for j in range(i + 1):
                score = query[i, head] @ key[j, head] + block.order_bias[i - j]
                if time_encoding == "rotary":
                    gap_s = float(elapsed_s[i] - elapsed_s[j])
                    score = score + block.time_bias[int(torch.tensor(max(gap_s, 1.0)).double().log() / 0.301)]
                total += silu(score) / 6 * value[j, head]
            heads.append(total)
        mixed = torch.cat(heads)
        normed = (mixed - mixed.mean()) / (mixed.var(unbiased=False) + 1e-6).sqrt()
        expected = x_TD[i] + block.output(normed * gate[i])
        assert torch.allclose(block(x_TD[None], make_clock(config, *gaps_s))[0, i], expected, atol=1e-5)


def test_log_gap_buckets_never_look_at_the_next_event():
    config = ModelConfig(mixer="hstu")
    near, far = make_clock(config, 0, 10, 100, 7), make_clock(config, 0, 10, 100, 7_000_000)
    assert torch.equal(near.gap_buckets_BTT[:, :3, :3], far.gap_buckets_BTT[:, :3, :3])
    assert near.gap_buckets_BTT[0, 2].tolist()[:3] == [15, 15, 0]  # ln(110) / 0.301, ln(100) / 0.301
    assert make_clock(config, 0, 10**10).gap_buckets_BTT.max() == 63


@torch.no_grad()
def test_recurrent_mixer_equals_the_gated_unit_step_by_step():
    torch.manual_seed(0)
    mixer = RecurrentMixer(4)
    w, u = mixer.units.weight_ih_l0, mixer.units.weight_hh_l0
    x_TD, h = torch.randn(5, 4), torch.zeros(4)
    out = mixer(x_TD[None])[0]
    for t in range(5):
        from_x, from_h = w @ x_TD[t] + mixer.units.bias_ih_l0, u @ h + mixer.units.bias_hh_l0
        reset, update = (from_x[:8] + from_h[:8]).sigmoid().split(4)
        h = (1 - update) * (from_x[8:] + reset * from_h[8:]).tanh() + update * h
        assert torch.allclose(out[t], h, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_scores_of_some_tokens_are_those_of_all(score, make_backbone):
    backbone, h_ND = make_backbone(score=score), torch.randn(3, 16)
    if score == "dot":
        torch.nn.init.normal_(backbone.token_bias_V)
    some = torch.tensor([7, 2, 19])
    assert torch.allclose(backbone.next_token_logits(h_ND, some), backbone.next_token_logits(h_ND)[:, some], atol=1e-6)


@torch.no_grad()
def test_cosine_scores_ignore_lengths(make_backbone):
    backbone, h_ND = make_backbone(score="cosine", score_temperature=0.1), torch.randn(3, 16)
    before = backbone.next_token_logits(h_ND)
    assert before.abs().max() <= 10 + 1e-4
    backbone.embedding.token.weight.mul_(torch.rand(20, 1) + 0.5)
    assert torch.allclose(backbone.next_token_logits(3 * h_ND), before, atol=1e-5)
    assert "token_bias_V" not in backbone.state_dict()


@torch.no_grad()
@pytest.mark.parametrize("mixer", ["attention", "sprm", "gru", "hstu"])
def test_learned_position_tells_equal_events_apart(mixer, make_backbone, make_batch):
    batch = make_batch(num_windows=1)
    for tensor in (batch.token_ids_BT, batch.attribute_ids_BTF, batch.time_us_BT):
        tensor[:] = tensor[:, :1]
    same = {"time_encoding": "none", "num_layers": 1}
    learned = make_backbone(mixer=mixer, position="learned", **same)(batch)[0]
    assert not torch.allclose(learned[10], learned[11], atol=1e-3)
    if mixer in ("attention", "sprm"):  # a recurrent state and HSTU's unnormalised sum grow with the history
        rotary = make_backbone(mixer=mixer, **same)(batch)[0]
        assert torch.allclose(rotary[10], rotary[11], atol=1e-5)


@torch.no_grad()
def test_token_alone_is_read_where_so_declared(make_backbone, make_batch):
    backbone, batch = make_backbone(inputs="token"), make_batch()
    other = replace(batch, attribute_ids_BTF=1 + batch.attribute_ids_BTF % 4)
    assert torch.equal(backbone(batch), backbone(other))
    assert not any("embedding.attributes" in name for name in backbone.state_dict())
    with pytest.raises(ConfigurationError, match="inputs to token_and_attributes"):
        make_backbone(inputs="token", tokenizer_kind="factored")
