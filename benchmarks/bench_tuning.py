"""What tuning the backbone for fraud brings and costs: `bench_tuning.py ENV [parameter=value ...]`.

    kedro run
    python benchmarks/bench_tuning.py base finetuning.task.negatives_per_fraud=20 finetuning.tuning.max_epochs=3

On the rows of the finished run: the head on the frozen backbone, the backbone tuned as a whole, and by low-rank
updates, all with the seeds of `finetuning.tuning`. Seconds are those of the processor: a busy machine does not count.
Writes benchmarks/results/tuning_<ledger>_<machine>.json.
"""

import copy
import sys
import time
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from omegaconf import OmegaConf

from common import ROOT, write_result
from panther_pipeline.cache.embed import EventEmbeddingConfig
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.metrics.config import BootstrapConfig
from panther_pipeline.metrics.fraud import measure_fraud_scores
from panther_pipeline.scoring.fit import HeadConfig, copy_network, fit_fraud_head
from panther_pipeline.scoring.scores import collect_scores
from panther_pipeline.scoring.task import FraudTaskConfig, assemble_fraud_task
from panther_pipeline.scoring.tuning.config import MODEL_NAMES, TuningConfig
from panther_pipeline.scoring.tuning.fit import tune_backbone
from panther_pipeline.scoring.tuning.layerwise import unfreeze_layers
from panther_pipeline.scoring.tuning.lora import add_low_rank_updates

METRICS = ("average_precision", "roc_auc", "recall@0.1%")


def main() -> None:
    env, stated = (sys.argv[1] if len(sys.argv) > 1 else "base"), sys.argv[2:]
    bootstrap_project(ROOT)
    runtime_params = OmegaConf.to_container(OmegaConf.from_dotlist(stated))
    with KedroSession.create(ROOT, env=env, runtime_params=runtime_params) as session:
        context = session.load_context()
        load, params = context.catalog.load, context.config_loader["parameters"]
    blocks = params["finetuning"]
    events, backbone, sequences = load("valid_events").lazy().collect(), load("backbone"), load("token_sequences")
    task = assemble_fraud_task(
        events, load("event_features"), load("event_embeddings"),
        FraudTaskConfig(**blocks["task"]), SplitConfig(**params["ledger"]["splits"]),
    )  # fmt: skip
    config = TuningConfig(**blocks["tuning"] | {"methods": "full+lora"})
    freshness = EventEmbeddingConfig(**params["embedding"]["events"])
    start_s = time.process_time()
    head, frozen = fit_fraud_head(task, HeadConfig(**blocks["head"] | {"seeds": config.seeds}))
    seconds, tables = {"panther_head": time.process_time() - start_s}, [frozen]
    for method, name in MODEL_NAMES.items():
        start_s = time.process_time()
        tables.append(tune_backbone(method, task, head, backbone, sequences, freshness, config)[2])
        seconds[name] = time.process_time() - start_s
    scores = collect_scores(*tables)
    record: dict[str, Any] = {
        "parameters": stated,
        "rows_fitted": int((task.part_R == 0).sum()),
        "rows_judged": int((task.part_R == 2).sum()),
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "weights_trained": {
            "backbone": sum(p.numel() for p in backbone.parameters()),
            "head": sum(p.numel() for p in copy_network(head).parameters()),
            "head_tuned": _count(unfreeze_layers(copy.deepcopy(backbone), config.full, 0.0)),
            "head_lora": _count(add_low_rank_updates(copy.deepcopy(backbone), config.lora, 0.0)),
        },
        "metrics": _tabulate(measure_fraud_scores(scores, BootstrapConfig(**params["evaluation"]["bootstrap"]))),
    }
    write_result(f"tuning_{params['evaluation']['card']['ledger']}", record)


def _count(groups: list[dict[str, Any]]) -> int:
    return sum(p.numel() for group in groups for p in group["params"])


def _tabulate(records: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """model → metric → [value, low, high] on the test rows; differences are paired."""
    found: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if record["metric"].startswith(METRICS):
            numbers = [round(record[key], 4) for key in ("value", "low", "high")]
            found.setdefault(record["model"], {})[record["metric"]] = numbers
    return found


if __name__ == "__main__":
    main()
