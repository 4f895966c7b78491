"""backbone + token_sequences → event_embeddings, user_embeddings, next_transactions, online_store."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.embed.nodes import (
    build_online_store,
    embed_events,
    embed_users,
    measure_surprises,
    tabulate_token_embeddings,
)


def create_pipeline(**kwargs) -> Pipeline:
    """What the model knew before each event, and knows about every user now."""
    return Pipeline(
        [
            Node(
                measure_surprises,
                inputs=["backbone", "token_sequences", "tokenizer", "params:embedding.events"],
                outputs="event_surprises",
                name="measure_surprises",
            ),
            Node(
                embed_events,
                inputs=["backbone", "token_sequences", "event_surprises", "valid_events", "params:embedding.events"],
                outputs="event_embeddings",
                name="embed_events",
            ),
            Node(
                embed_users,
                inputs=["backbone", "token_sequences", "tokenizer", "params:embedding.users"],
                outputs=["user_embeddings", "next_transactions", "user_forecasts"],
                name="embed_users",
            ),
            Node(
                build_online_store,
                inputs=[
                    "valid_events",
                    "profiles",
                    "token_sequences",
                    "event_surprises",
                    "user_forecasts",
                    "backbone",
                    "tokenizer",
                    "params:embedding.store",
                    "params:embedding.events",
                    "params:finetuning.features",
                    "params:ledger.schema",
                ],
                outputs="online_store",
                name="build_online_store",
            ),
            Node(
                tabulate_token_embeddings,
                inputs=["backbone", "tokenizer"],
                outputs="token_embeddings",
                name="tabulate_token_embeddings",
            ),
        ]
    )
