import torch

from panther_pipeline.model.embedding import gap_features


def test_gap_code_tells_close_gaps_apart_and_marks_the_first():
    time_us_BT = torch.tensor([[0, 1, 2, 7 * 86_400 + 2, 7 * 86_400 + 2]]) * 1_000_000
    features = gap_features(time_us_BT)[0]
    assert features[0].tolist() == [0.0] * 16 + [1.0]
    assert torch.allclose(features[1:, :-1].sum(-1), torch.ones(4))
    assert not features[1:, -1].any()
    assert torch.equal(features[1], features[2])
    assert not torch.allclose(features[2], features[3])
    assert features[4, 0] == 1


def test_gap_longer_than_a_year_is_the_last_knot():
    features = gap_features(torch.tensor([[0, 5_000 * 86_400_000_000]]))[0, 1]
    assert features[15] == 1
    assert features.sum() == 1
