"""backbone + token_sequences + valid_events → next_value_heads."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.finetune.nodes import fit_next_value_heads, fit_value_fields


def create_next_value_pipeline() -> Pipeline:
    """A head per attribute on the states of the frozen backbone."""
    return Pipeline(
        [
            # Apart from the heads, so that an attribute the ledger lacks is refused before a backbone is trained.
            Node(
                fit_value_fields,
                inputs=["valid_events", "token_sequences", "params:finetuning.next_value"],
                outputs="value_fields",
                name="fit_value_fields",
            ),
            Node(
                fit_next_value_heads,
                inputs=["value_fields", "valid_events", "token_sequences", "backbone", "params:finetuning.next_value"],
                outputs="next_value_heads",
                name="fit_next_value_heads",
            ),
        ]
    )
