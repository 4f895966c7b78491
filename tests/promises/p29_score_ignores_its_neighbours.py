"""P29: a score does not depend on what else is asked in the same request."""

from dataclasses import replace

import numpy as np

from panther_pipeline.online.scorer import OnlineScorer

AS_OF = "2024-12-01"
TOLERANCE = 1e-6


def test_score_alone_equals_score_among_others(finished_run, tmp_path):
    scorer = finished_run.scorer(tmp_path / "store", AS_OF)
    _, events = finished_run.events_from(AS_OF, 256)
    alone = np.array([scorer.score([event])[0].probability for event in events])
    largest = 0.0
    for size in (2, 7, 64, 256):
        together = [
            decision.probability
            for start in range(0, len(events), size)
            for decision in scorer.score(events[start : start + size])
        ]
        largest = max(largest, float(np.abs(together - alone).max()))
    scorer.close()
    print(f"\nP29 {largest:.1e} largest difference alone and among 2, 7, 64, 256 / {TOLERANCE:.0e}")
    assert largest <= TOLERANCE


def test_comparison_notices_inputs_averaged_over_the_request(finished_run, tmp_path, monkeypatch):
    made = OnlineScorer.inputs
    seen = []

    def leaking(self, event):
        own = made(self, event)
        seen.append(own.features_F)
        return replace(own, features_F=np.mean(seen[-2:], axis=0))

    scorer = finished_run.scorer(tmp_path / "store", AS_OF)
    _, events = finished_run.events_from(AS_OF, 8)
    alone = []
    for event in events:
        seen.clear()
        alone.append(scorer.score([event])[0].probability)
    monkeypatch.setattr(OnlineScorer, "inputs", leaking)
    together = [decision.probability for decision in scorer.score(events)]
    scorer.close()
    assert np.abs(np.subtract(together, alone)).max() > TOLERANCE
