"""Nodes of the embed pipeline."""

import polars as pl

from panther_pipeline.cache import embed, users
from panther_pipeline.cache.embed import EventEmbeddingConfig, UserEmbeddingConfig
from panther_pipeline.cache.users import UserForecasts
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online import build
from panther_pipeline.online.build import OnlineStore, StoreConfig, StoreSources
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
    backbone: Backbone, token_sequences: TokenSequences, tokenizer: Tokenizer, config: UserEmbeddingConfig
) -> tuple[pl.DataFrame, pl.DataFrame, UserForecasts]:
    """Every user as of one instant."""
    forecasts = users.forecast_users(backbone, token_sequences, config)
    return *users.tabulate_users(forecasts, token_sequences, tokenizer), forecasts


def build_online_store(
    valid_events: pl.LazyFrame,
    profiles: pl.DataFrame,
    token_sequences: TokenSequences,
    event_surprises: pl.DataFrame,
    user_forecasts: UserForecasts,
    backbone: Backbone,
    tokenizer: Tokenizer,
    config: StoreConfig,
    events: EventEmbeddingConfig,
    features: FeatureConfig,
    schema: LedgerSchema,
) -> OnlineStore:
    """What a decision needs of every user and every counterparty."""
    sources = StoreSources(
        valid_events=valid_events.lazy().collect(),
        profiles=profiles,
        sequences=token_sequences,
        surprises=event_surprises,
        forecasts=user_forecasts,
        backbone=backbone,
        tokenizer=tokenizer,
    )
    return build.build_online_store(sources, config, events.refresh, features, schema)


def tabulate_token_embeddings(backbone: Backbone, tokenizer: Tokenizer) -> pl.DataFrame:
    """The learned vector of every token."""
    return users.tabulate_token_embeddings(backbone, tokenizer)
