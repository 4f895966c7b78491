"""How much embeddings over a user's whole history, future included, flatter a fraud model: `bench_leakage.py ENV`.

    kedro run --env=handbook --params=data_root=FOLDER
    python benchmarks/bench_leakage.py handbook

Fits the trees of `finetuning.trees` twice on the rows of the finished run: with the embedding that was known when each
event happened, and with one embedding per user, of everything the ledger holds of them. That is how the paper caches
(PANTHER 3.4: offline, per user) when its downstream table is measured on the same months. Writes
benchmarks/results/leakage_<ledger>_<machine>.json.
"""

import sys
from dataclasses import replace

import numpy as np
import polars as pl
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from common import ROOT, write_result
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import measure_fraud_scores
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.task import FraudTask, FraudTaskConfig, assemble_fraud_task
from panther_pipeline.scoring.trees import TreeConfig, fit_tree_baselines
from panther_pipeline.tokenizer.sequences import TokenSequences

METRICS = ("average_precision", "roc_auc", "recall@1%")


def embed_whole_histories(task: FraudTask, backbone: Backbone, sequences: TokenSequences) -> np.ndarray:
    """(R, D): of each row's user, the state after their last event."""
    last_U = sequences.offsets_U1[1:] - 1
    states = np.zeros((len(last_U), backbone.config.dim), dtype=np.float32)
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, last_U):
        states[np.searchsorted(last_U, rows_m)] = h_mD.cpu().numpy()
    return states[sequences.user_ix_N()[task.events["row"].to_numpy()]]


def measure(task: FraudTask, trees: TreeConfig, bootstrap: BootstrapConfig) -> dict[str, dict[str, list[float]]]:
    """model → metric → [value, low, high] on the test rows."""
    scores = fit_tree_baselines(task, trees).filter(pl.col("model") != "trees_features")
    found: dict[str, dict[str, list[float]]] = {}
    for record in measure_fraud_scores(scores, bootstrap):
        if record["metric"] in METRICS:
            numbers = [record["value"], record["low"], record["high"]]
            found.setdefault(record["model"], {})[record["metric"]] = numbers
    return found


def main() -> None:
    env = sys.argv[1] if len(sys.argv) > 1 else "base"
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT, env=env) as session:
        context = session.load_context()
        load, params = context.catalog.load, context.params
    task = assemble_fraud_task(
        load("valid_events").lazy().collect(),
        load("event_features"),
        load("event_embeddings"),
        FraudTaskConfig(**params["finetuning"]["task"]),
        SplitConfig(**params["ledger"]["splits"]),
    )
    whole_RD = embed_whole_histories(task, load("backbone").eval(), load("token_sequences"))
    trees = TreeConfig(**params["finetuning"]["trees"])
    bootstrap = BootstrapConfig(**params["evaluation"]["bootstrap"])
    record = {
        "as_of_the_event": measure(task, trees, bootstrap),
        "whole_history": measure(replace(task, embeddings_RD=whole_RD), trees, bootstrap),
        "rows": len(task.part_R),
    }
    write_result(f"leakage_{params['evaluation']['card']['ledger']}", record)


if __name__ == "__main__":
    main()
