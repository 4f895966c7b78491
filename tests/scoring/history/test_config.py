"""The block says what is wrong with it."""

import pytest
from pydantic import ValidationError

from panther_pipeline.scoring.history.config import HistoryConfig


def test_all_problems_are_named_at_once(history_config):
    values = history_config.model_dump() | {"models": ["textcnn", "textcnn"], "num_events": 2}
    with pytest.raises(ValidationError, match=r"names one twice.*widths must be from 1 to num_events = 2, got \[3\]"):
        HistoryConfig(**values)


def test_unknown_model_is_refused_with_those_there_are(history_config):
    with pytest.raises(ValidationError, match="'textcnn', 'attention' or 'distilled'"):
        HistoryConfig(**(history_config.model_dump() | {"models": ["lstm"]}))


def test_models_of_the_command_line_are_joined_by_plus(history_config):
    values = history_config.model_dump()
    assert HistoryConfig(**(values | {"models": "textcnn+distilled"})).models == ["textcnn", "distilled"]
    with pytest.raises(ValidationError, match="'textcnn', 'attention' or 'distilled'"):
        HistoryConfig(**(values | {"models": "textcnn+lstm"}))
