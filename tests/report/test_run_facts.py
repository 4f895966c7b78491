"""The head of the card."""

import runpy
from pathlib import Path

import pytest

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.report.run_facts import describe_run
from panther_pipeline.training.pretraining import untrained_backbone

CODE = {"commit": "abc", "changed": "false"}


@pytest.fixture
def run():
    path = Path(__file__).parents[1] / "fixtures" / "histories.py"
    sequences = runpy.run_path(str(path))["random_sequences"]()
    config = ModelConfig(dim=16, num_layers=1, num_heads=2, max_events=16, num_prototypes=4)
    return sequences, untrained_backbone(sequences, config, 0)


@pytest.mark.parametrize(
    ("known", "until"), [({"learnt_until": "2023-06-30T23:00:00"}, "2023-06-30"), ({}, "2023-06-01")]
)
def test_card_says_until_when_the_first_weights_learnt(run, known, until):
    """A report of before `learnt_until` was written has the bound of the source's tokenizer alone."""
    report = {"source": "older_bank", "train_end": "2023-06-01", **known}
    began = describe_run(*run, CODE, 0, report)["training began with"]
    assert began.startswith(f"the backbone of older_bank, which learnt until {until}")


def test_card_is_silent_about_first_weights_that_are_fresh(run):
    assert "training began with" not in describe_run(*run, CODE, 0, {"source": None})
