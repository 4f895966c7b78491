"""What the age of a cached embedding costs a fraud model, and what the future in it pays: `bench_embeddings.py ENV`.

    kedro run --env=handbook --params=data_root=FOLDER
    python benchmarks/bench_embeddings.py handbook

Fits the trees of `finetuning.trees` on the rows of the finished run with the embedding and the deviations that a cache
would have held which is renewed at each event, every hour, day or week; and with one embedding per user, of everything
the ledger holds of them, its future included, beside the deviations of a cache renewed at each event. The last is how a
table is flattered that is measured on the months over which the users were embedded. Writes
benchmarks/results/embeddings_<ledger>_<machine>.json.
"""

import sys
from dataclasses import replace

import numpy as np
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from common import ROOT, write_result
from panther_pipeline.cache.embed import embed_events, measure_surprises
from panther_pipeline.cache.states import iter_state_chunks
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import measure_fraud_scores
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.task import FraudTask, assemble_fraud_task
from panther_pipeline.scoring.trees import TreeConfig, fit_tree_baselines
from panther_pipeline.tokenizer.sequences import TokenSequences

REFRESHES = ("each_event", "hourly", "daily", "weekly")
METRICS = ("average_precision", "roc_auc", "recall@1%")


def embed_whole_histories(task: FraudTask, backbone: Backbone, sequences: TokenSequences) -> FraudTask:
    """The task with, in each row, the state after the last event of its user."""
    last_U = sequences.offsets_U1[1:] - 1
    states_UD = np.zeros((len(last_U), backbone.config.dim), dtype=np.float32)
    for rows_m, h_mD in iter_state_chunks(backbone, sequences, last_U):
        states_UD[np.searchsorted(last_U, rows_m)] = h_mD.cpu().numpy()
    return replace(task, embeddings_RD=states_UD[sequences.user_ix_N()[task.events["row"].to_numpy()]])


def measure(task: FraudTask, trees: TreeConfig, bootstrap: BootstrapConfig) -> dict[str, dict[str, list[float]]]:
    """model → metric → [value, low, high] on the test rows."""
    found: dict[str, dict[str, list[float]]] = {}
    for record in measure_fraud_scores(fit_tree_baselines(task, trees), bootstrap):
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
    events, features = load("valid_events").lazy().collect(), load("event_features")
    backbone, sequences, counts_V = (
        load("backbone").eval(),
        load("token_sequences"),
        load("tokenizer").vocabulary.counts_V,
    )
    # Kedro has made each block its configuration class, as it does for a run.
    task_config, splits = params["finetuning"]["task"], params["ledger"]["splits"]
    # One setting for all: a search on each task's own calibration rows would add its noise to small differences.
    trees = params["finetuning"]["trees"].model_copy(update={"search": []})
    bootstrap = params["evaluation"]["bootstrap"]
    tasks = {}
    for refresh in REFRESHES:
        config = params["embedding"]["events"].model_copy(update={"refresh": refresh})
        embedded = embed_events(backbone, sequences, measure_surprises(backbone, sequences, counts_V, config), config)
        tasks[refresh] = assemble_fraud_task(events, features, embedded, task_config, splits)
    tasks["whole_history"] = embed_whole_histories(tasks["each_event"], backbone, sequences)
    record = {name: measure(task, trees, bootstrap) for name, task in tasks.items()}
    write_result(f"embeddings_{params['evaluation']['card'].ledger}", record)


if __name__ == "__main__":
    main()
