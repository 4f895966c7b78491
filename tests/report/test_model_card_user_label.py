"""The section on labels of users says what was compared, on how many, and how."""

from panther_pipeline.metrics.records import make_record
from panther_pipeline.metrics.user_label import USER_LABEL_MODELS
from panther_pipeline.report.model_card_user_label import user_label_section


def record(model: str, metric: str, value: float, *, split: str = "out_of_fold", spread: float | None = 0.05) -> dict:
    low, high = (None, None) if spread is None else (value - spread, value + spread)
    return make_record(
        task="user_label", model=model, metric=metric, split=split, value=value, low=low, high=high, n=354, seeds=5
    )


def records(split: str = "out_of_fold") -> list[dict]:
    values = [record(model, "roc_auc", 0.5 + i / 20, split=split) for i, model in enumerate(USER_LABEL_MODELS)]
    return [*values, record("constant", "average_precision", 0.0847, split=split)]


def test_section_shows_every_model_and_the_protocol():
    html = user_label_section(records())
    assert all(f"<td>{model}</td>" in html for model in USER_LABEL_MODELS)
    assert "354 labels, 8.5% of them positive, each scored by models of other users, the mean over 5 draws" in html
    assert 'class="n best">0.8000' in html
    assert "later than those fitted on" in user_label_section(records("test"))


def test_section_names_no_direction_where_the_interval_holds_zero():
    found = [*records(), record("trees_both", "roc_auc_difference_vs_trees_features", 0.01)]
    assert "not told apart" in user_label_section(found)
    sure = [*records(), record("trees_both", "roc_auc_difference_vs_trees_features", 0.08)]
    assert ">higher<" in user_label_section(sure)


def test_section_shows_the_spread_over_repeats():
    spreads = [
        record("trees_both", f"{metric}_repeat_{what}", value, spread=None)
        for metric in ("roc_auc", "average_precision", "brier")
        for what, value in (("mean", 0.75), ("std", 0.0125))
    ]
    assert user_label_section([*records(), *spreads]).count("0.7500 ± 0.0125") == 3
    assert "±" not in user_label_section(records())


def test_section_of_a_ledger_without_labels_says_so():
    assert "Not measured" in user_label_section([])
