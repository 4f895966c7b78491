"""What average precision would be on a test set that is half fraud, as papers resample it: `half_fraud.py LEDGER`.

    kedro run
    python benchmarks/half_fraud.py simulated

Of the scores of the finished run: the same events and the same ranking, non-frauds weighing as much as frauds together.
Prints a table; means over seeds.
"""

import sys

import polars as pl
from sklearn.metrics import average_precision_score

from common import ROOT
from panther_pipeline.metrics.fraud import order_models


def measure(table: pl.DataFrame) -> tuple[float, float]:
    """Average precision at natural prevalence, and as if frauds were half of all."""
    label_R, score_R = table["label"].to_numpy(), table["score"].to_numpy()
    weight_R = table.select(pl.when(pl.col("label") == 1).then(1 / label_R.mean()).otherwise(1 / (1 - label_R.mean())))
    halves = average_precision_score(label_R, score_R, sample_weight=weight_R.to_series().to_numpy())
    return average_precision_score(label_R, score_R), halves


def main() -> None:
    ledger = sys.argv[1] if len(sys.argv) > 1 else "simulated"
    scores = pl.read_parquet(ROOT / f"data/07_model_output/{ledger}/fraud_scores.parquet")
    test = scores.filter(pl.col("label").is_not_null(), split="test")
    print(f"{'':20} natural ({test['label'].mean():.2%} fraud)   half fraud")
    for model in order_models(test["model"].unique().to_list()):
        seeds = [measure(table) for _, table in test.filter(model=model).group_by("seed")]
        natural, halves = (sum(values) / len(seeds) for values in zip(*seeds, strict=True))
        print(f"{model:20} {natural:18.3f} {halves:18.3f}")


if __name__ == "__main__":
    main()
