"""backbone + token_sequences → what the model attends to, and how it saw one user."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.evaluate.nodes import (
    explain_prototypes,
    find_motifs,
    plot_prototypes,
    plot_timeline,
    plot_user_map,
    summarise_prototypes,
    tabulate_timeline,
)


def create_explanation_pipeline() -> Pipeline:
    """Motifs and the prototypes that fire for them, one user over time, all users on a map."""
    return Pipeline(
        [
            Node(
                find_motifs,
                inputs=["token_sequences", "tokenizer", "params:evaluation.motifs"],
                outputs="motifs",
                name="find_motifs",
            ),
            Node(
                explain_prototypes,
                inputs=["backbone", "token_sequences", "tokenizer", "motifs", "params:evaluation.prototypes"],
                outputs="prototype_weights",
                name="explain_prototypes",
            ),
            Node(
                plot_prototypes,
                inputs=["prototype_weights", "params:evaluation.prototypes"],
                outputs=["prototype_plot", "motif_plot"],
                name="plot_prototypes",
            ),
            Node(
                summarise_prototypes,
                inputs=["prototype_weights", "params:evaluation.prototypes"],
                outputs="prototype_summary",
                name="summarise_prototypes",
            ),
            Node(
                tabulate_timeline,
                inputs=[
                    "backbone", "token_sequences", "tokenizer", "valid_events", "next_tuple_scores",
                    "params:evaluation.timeline",
                ],
                outputs="user_timeline",
                name="tabulate_timeline",
            ),
            Node(
                plot_timeline,
                inputs=["user_timeline", "params:ledger.schema"],
                outputs="timeline_plot",
                name="plot_timeline",
            ),
            Node(
                plot_user_map,
                inputs=["user_embeddings", "params:evaluation.user_map.seed"],
                outputs="user_map",
                name="plot_user_map",
            ),
        ]
    )  # fmt: skip
