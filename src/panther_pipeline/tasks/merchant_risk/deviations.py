"""How far every event lay from what was expected of its user, in the user's own standard deviations.

Two measures, both larger for what is stranger: surprise (how improbable the event was) and distance (1 - cosine of the
expected and the observed vector). Each is standardised by the user's own past up to what the cache knew, so that a
counterparty is not called risky because its customers are hard to predict.

Honesty: every value looks at its user's past alone, but the weights of the backbone were fitted on the events before
`ledger.splits.train_end`. Deviations of those events come from a model that trained on them, those of later events do
not. Rows fitted on before train_end may therefore trust deviations more than the test bears out; fitting on later
instants alone is `fit_start`.

Shape letters: N events of the ledger.

Source: PANTHER (arXiv 2510.10102), section 4.1.3 and Eq. 3.
"""

import numpy as np
import polars as pl

from panther_pipeline.cache.embed import as_of_rows
from panther_pipeline.cache.surprises import standardise_by_past
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.units import epoch_us

SURPRISE, DISTANCE = "surprise_z", "distance_z"
DEVIATIONS = [SURPRISE, DISTANCE]


def measure_deviations(
    valid_events: pl.DataFrame, event_surprises: pl.DataFrame, sequences: TokenSequences, refresh: str
) -> pl.DataFrame:
    """Standardise the deviations of all events.

    Args:
        valid_events: the ledger, (N,) rows sorted by (user_id, event_seq).
        event_surprises: surprise (nats) and cosine of every event, from `cache.embed.measure_surprises`.
        sequences: the tokens of the same ledger.
        refresh: how often the cache was renewed; see `cache.embed.EventEmbeddingConfig`.

    Returns:
        surprise_z and distance_z, float32 (N,), in standard deviations; 0 where the user's past says nothing.

    Raises:
        ConfigurationError: the three tables are not of the same ledger.
    """
    is_same = event_surprises.height == valid_events.height == sequences.num_events
    if not is_same or not np.array_equal(epoch_us(valid_events["event_time"]), sequences.time_us_N):
        raise ConfigurationError(
            f"event_surprises ({event_surprises.height} rows) and token_sequences ({sequences.num_events} events) do "
            f"not belong to valid_events ({valid_events.height} rows). Run the pipelines tokenize and embed again."
        )
    as_of_N = as_of_rows(sequences, refresh)
    values = {SURPRISE: event_surprises["surprise"].to_numpy(), DISTANCE: 1.0 - event_surprises["cosine"].to_numpy()}
    return pl.DataFrame(
        {name: standardise_by_past(values_N, sequences.offsets_U1, as_of_N) for name, values_N in values.items()}
    )
