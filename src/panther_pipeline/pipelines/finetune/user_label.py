"""valid_events + user_labels + backbone → user_label_features, user_label_embeddings, user_label_scores."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import aggregate_histories, embed_histories, score_user_labels


def create_user_label_pipeline() -> Pipeline:
    """A label of a user as of a date, from aggregates, from the backbone's state and from both, on the same rows."""
    return Pipeline(
        [
            Node(
                aggregate_histories,
                inputs=[
                    "valid_events",
                    "user_labels",
                    "profiles",
                    "params:finetuning.user_label.history",
                    "params:finetuning.user_label.protocol",
                ],
                outputs="user_label_features",
                name="aggregate_histories",
            ),
            Node(
                embed_histories,
                inputs=[
                    "user_label_features",
                    "token_sequences",
                    "backbone",
                    "event_surprises",
                    "params:embedding.events",
                ],
                outputs="user_label_embeddings",
                name="embed_histories",
            ),
            Node(
                score_user_labels,
                inputs=[
                    "user_label_features",
                    "user_label_embeddings",
                    "params:finetuning.user_label.protocol",
                    "params:finetuning.user_label.models",
                ],
                outputs="user_label_scores",
                name="score_user_labels",
            ),
        ]
    )
