"""valid_events, profiles → tokenizer, token_sequences, vocabulary, coverage_report, coverage_plot."""

from kedro.pipeline import Node, Pipeline

from panther_pipeline.pipelines.tokenize.nodes import (
    encode_events,
    fit_tokenizer,
    measure_coverage,
    plot_coverage,
    tabulate_vocabulary,
)


def create_pipeline(**_: object) -> Pipeline:
    """Events become tokens."""
    return Pipeline(
        [
            Node(
                fit_tokenizer,
                inputs=["valid_events", "profiles", "params:tokenizer.vocabulary", "params:ledger.splits"],
                outputs="tokenizer",
                name="fit_tokenizer",
            ),
            Node(
                encode_events,
                inputs=["valid_events", "profiles", "tokenizer", "params:ledger.splits"],
                outputs="token_sequences",
                name="encode_events",
            ),
            Node(tabulate_vocabulary, inputs="tokenizer", outputs="vocabulary", name="tabulate_vocabulary"),
            Node(
                measure_coverage,
                inputs=["token_sequences", "tokenizer"],
                outputs="coverage_report",
                name="measure_coverage",
            ),
            Node(
                plot_coverage,
                inputs=["vocabulary", "coverage_report"],
                outputs="coverage_plot",
                name="plot_coverage",
            ),
        ]
    )
