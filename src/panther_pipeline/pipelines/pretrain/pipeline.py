"""`pretrain`: token_sequences, tokenizer, another ledger's backbone if one is named → backbone, training curves."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.pretrain.nodes import plot_training_curves, pretrain_backbone


def create_pipeline() -> Pipeline:
    return Pipeline(
        [
            Node(
                pretrain_backbone,
                inputs=[
                    "token_sequences",
                    "tokenizer",
                    "pretraining_checkpoints",
                    "source_backbone",
                    "source_tokenizer",
                    "params:pretraining.model",
                    "params:pretraining.loss",
                    "params:pretraining.training",
                    "params:pretraining.transfer",
                ],
                outputs=["backbone", "training_curves", "transfer_report"],
                name="pretrain_backbone",
            ),
            Node(
                plot_training_curves,
                inputs="training_curves",
                outputs="training_plot",
                name="plot_training_curves",
            ),
        ]
    )
