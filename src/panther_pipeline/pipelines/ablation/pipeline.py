"""token_sequences → ablation_results, ablation_table and two figures; trained runs are kept in ablation_runs."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.ablation.nodes import (
    collect_ablation_curves,
    measure_ablation,
    plan_ablation,
    plot_ablation,
    plot_ablation_curves,
    run_ablation,
    write_ablation_table,
)


def create_pipeline(**kwargs) -> Pipeline:
    """A grid of variants and seeds on one ledger, told apart on the same targets."""
    return Pipeline(
        [
            Node(
                plan_ablation,
                inputs=[
                    "token_sequences",
                    "tokenizer",
                    "params:ablation",
                    "params:pretraining.model",
                    "params:pretraining.loss",
                    "params:pretraining.training",
                ],
                outputs="ablation_grid",
                name="plan_ablation",
            ),
            Node(
                run_ablation,
                inputs=[
                    "ablation_grid",
                    "token_sequences",
                    "ablation_runs",
                    "params:evaluation.ranking",
                    "code_version",
                ],
                outputs="ablation_finished_runs",
                name="run_ablation",
            ),
            Node(
                measure_ablation,
                inputs=[
                    "ablation_grid",
                    "ablation_finished_runs",
                    "token_sequences",
                    "params:evaluation.ranking",
                    "params:evaluation.bootstrap",
                    "params:ledger.splits.protocol",
                    "code_version",
                ],
                outputs="ablation_results",
                name="measure_ablation",
            ),
            Node(
                collect_ablation_curves,
                inputs="ablation_finished_runs",
                outputs="ablation_curves",
                name="collect_ablation_curves",
            ),
            Node(
                write_ablation_table,
                inputs="ablation_results",
                outputs="ablation_table",
                name="write_ablation_table",
            ),
            Node(
                plot_ablation,
                inputs="ablation_results",
                outputs="ablation_plot",
                name="plot_ablation",
            ),
            Node(
                plot_ablation_curves,
                inputs="ablation_curves",
                outputs="ablation_curves_plot",
                name="plot_ablation_curves",
            ),
        ]
    )
