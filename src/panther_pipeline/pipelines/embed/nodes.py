"""Nodes of the embed pipeline."""

import polars as pl

from panther_pipeline.cache import embed, users
from panther_pipeline.cache.embed import EventEmbeddingConfig, UserEmbeddingConfig
from panther_pipeline.cache.store import OnlineStore
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


def measure_surprises(
    backbone: Backbone, token_sequences: TokenSequences, tokenizer: Tokenizer, config: EventEmbeddingConfig
) -> pl.DataFrame:
    """How unexpected every event was, given what the cache knew."""
    return embed.measure_surprises(backbone, token_sequences, tokenizer.vocabulary.counts_V, config)


def embed_events(
    backbone: Backbone,
    token_sequences: TokenSequences,
    event_surprises: pl.DataFrame,
    valid_events: pl.LazyFrame,
    config: EventEmbeddingConfig,
) -> pl.DataFrame:
    """The embedding each event would have met in the cache, with the event's id."""
    embedded = embed.embed_events(backbone, token_sequences, event_surprises, config)
    event_ids = valid_events.lazy().select("event_id").collect().to_series()
    return embedded.with_columns(event_id=event_ids.gather(embedded["row"]))


def embed_users(
    backbone: Backbone,
    token_sequences: TokenSequences,
    event_surprises: pl.DataFrame,
    tokenizer: Tokenizer,
    config: UserEmbeddingConfig,
) -> tuple[pl.DataFrame, pl.DataFrame, OnlineStore]:
    """Every user as of one instant."""
    cache = users.embed_users(backbone, token_sequences, event_surprises, tokenizer, config)
    return cache.user_embeddings, cache.next_transactions, cache.online_store


def tabulate_token_embeddings(backbone: Backbone, tokenizer: Tokenizer) -> pl.DataFrame:
    """The learned vector of every token."""
    return users.tabulate_token_embeddings(backbone, tokenizer)
