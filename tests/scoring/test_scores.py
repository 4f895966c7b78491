"""The table of scores."""

import numpy as np

from panther_pipeline.scoring.scores import SCORE_SCHEMA, collect_scores, tabulate_scores
from panther_pipeline.scoring.task import CALIBRATION, JUDGED


def test_score_rows_carry_the_events_they_belong_to(task, ledger):
    probability = np.linspace(0, 1, len(task.part_R))
    table = tabulate_scores(task, probability, "m", 7)
    assert dict(table.schema) == SCORE_SCHEMA
    assert table["event_id"].to_list() == ledger["event_id"].gather(table["row"]).to_list()
    assert set(table["seed"]) == {7}
    for split, part in (("calibration", CALIBRATION), ("test", JUDGED)):
        np.testing.assert_array_equal(table.filter(table["split"] == split)["score"], probability[task.rows(part)])


def test_no_tables_collect_to_an_empty_table():
    assert dict(collect_scores().schema) == SCORE_SCHEMA
