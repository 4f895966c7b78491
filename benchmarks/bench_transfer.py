"""What a backbone of another ledger is worth to begin with: `bench_transfer.py ENV SOURCE`.

    kedro run --config=benchmarks/transfer_source.yml
    kedro run --env=berka_loans --params=data_root=FOLDER
    python benchmarks/bench_transfer.py berka_loans berka_1993

Trains on the users of a share (the tokenizer is the finished run's, of all users), once from fresh weights and once
from the source's, with as many steps, the same order of batches and the same seed, and forecasts every test event of
all users. Of users outside the share nothing is learnt; their past is read. On all users, the finished run is what
began with fresh weights. The first row ranks with the source's weights as they come over. Intervals are over users; one
seed, so that they say nothing of the luck of a training. Writes benchmarks/results/transfer_<ledger>_<machine>.json row
by row; whoever was killed runs it again, and what was trained is not trained twice.
"""

import sys
from dataclasses import replace

import numpy as np
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from common import ROOT, write_result
from panther_pipeline.ledger.splits import TEST, UNUSED, is_held_out
from panther_pipeline.metrics.bootstrap import bootstrap_means
from panther_pipeline.metrics.config import BootstrapConfig, RankingConfig
from panther_pipeline.metrics.next_transaction import rank_with_backbone, select_targets
from panther_pipeline.metrics.ranking import ranking_statistics
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.checkpoint import CheckpointFolder
from panther_pipeline.training.config import LossConfig, TrainingConfig, TransferConfig
from panther_pipeline.training.pretraining import pretrain
from panther_pipeline.training.transfer import transferred_backbone

FEW_SHOT = ((0.05, 100), (0.2, 200))  # share of users learnt from, optimizer steps
METRICS = ("hr@1", "hr@10", "nats")


def learn_from_share(sequences: TokenSequences, share: float) -> TokenSequences:
    """The same events, with training and validation of a fixed share of users alone."""
    is_in_U = np.array([is_held_out(f"share of {user}", share) for user in sequences.user_ids])
    keeps_N = is_in_U[sequences.user_ix_N()] | (sequences.split_N == TEST)
    return replace(sequences, split_N=np.where(keeps_N, sequences.split_N, UNUSED).astype(np.int8))


def forecast(backbone: Backbone, sequences: TokenSequences, ranking: RankingConfig) -> np.ndarray:
    """float64 (M, metrics) of every test event."""
    rows_M = select_targets(sequences, ranking)
    ranks_M, log_prob_M = rank_with_backbone(backbone.eval(), sequences, rows_M, ranking)
    statistics = ranking_statistics(ranks_M)
    return np.column_stack([statistics["hr@1"], statistics["hr@10"], -log_prob_M.astype(np.float64)])


def summarise(arms: dict[str, np.ndarray], users_M: np.ndarray, bootstrap: BootstrapConfig) -> dict[str, dict]:
    """arm → metric → [value, low, high], and the paired difference of the two arms where both are there."""
    if len(arms) == 2:
        arms = arms | {"transferred_minus_scratch": arms["transferred"] - arms["scratch"]}
    means = bootstrap_means(
        np.hstack(list(arms.values())), users_M, num_resamples=bootstrap.num_resamples, seed=bootstrap.seed
    )
    numbers = iter(np.round(np.stack(means, axis=1), 4).tolist())
    return {arm: {metric: next(numbers) for metric in METRICS} for arm in arms}


def main() -> None:
    env, source = sys.argv[1:3]
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT, env=env, runtime_params={"source_ledger": source}) as session:
        context = session.load_context()
        load, params = context.catalog.load, context.config_loader["parameters"]
    sequences, tokenizer, finished = load("token_sequences"), load("tokenizer"), load("backbone")
    pair = load("source_backbone"), load("source_tokenizer")
    blocks = params["pretraining"]
    model, loss = ModelConfig(**blocks["model"]), LossConfig(**blocks["loss"])
    training, transfer = TrainingConfig(**blocks["training"]), TransferConfig(**blocks["transfer"])
    ranking = RankingConfig(**params["evaluation"]["ranking"])
    bootstrap = BootstrapConfig(**params["evaluation"]["bootstrap"])
    ledger, rows = params["evaluation"]["card"]["ledger"], []
    users_M = sequences.user_ix_N()[select_targets(sequences, ranking)]

    def carried_over(learnt: TokenSequences) -> Backbone:
        return transferred_backbone(*pair, learnt, tokenizer, model, training.seed, transfer)[0]

    def train(learnt: TokenSequences, share: float, steps: int, initial: Backbone | None) -> np.ndarray:
        config = training.model_copy(update={"max_steps": steps})
        name = f"{share}_{'scratch' if initial is None else 'transferred'}"
        checkpoints = CheckpointFolder(ROOT / "data" / "06_models" / f"{source}_to_{ledger}" / name)
        backbone, _ = pretrain(learnt, model, loss, config, checkpoints, None, tokenizer.kind, initial)
        return forecast(backbone, sequences, ranking)

    def add_row(share: float, steps: int, **arms: np.ndarray) -> None:
        rows.append({"share": share, "steps": steps, **summarise(arms, users_M, bootstrap)})
        write_result(
            f"transfer_{ledger}", {"seed": training.seed, "targets": len(users_M), "mapping": report, "rows": rows}
        )

    _, report = transferred_backbone(*pair, sequences, tokenizer, model, training.seed, transfer)
    add_row(0.0, 0, transferred=forecast(carried_over(sequences), sequences, ranking))
    for share, steps in FEW_SHOT:
        learnt = learn_from_share(sequences, share)
        scratch = train(learnt, share, steps, None)
        add_row(share, steps, scratch=scratch, transferred=train(learnt, share, steps, carried_over(learnt)))
    steps = training.max_steps
    transferred = train(sequences, 1.0, steps, carried_over(sequences))
    add_row(1.0, steps, scratch=forecast(finished, sequences, ranking), transferred=transferred)


if __name__ == "__main__":
    main()
