"""The online store of a finished run: a record of every user and every counterparty, as of one instant."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import Field
from tqdm import tqdm

from panther_pipeline.cache.stores.lmdb_generation import write_generation
from panther_pipeline.cache.stores.lmdb_store import LmdbStore
from panther_pipeline.cache.stores.record_store import Key
from panther_pipeline.cache.users import UserForecasts
from panther_pipeline.cards.columns import key_id_of
from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.features.activity import UserActivity
from panther_pipeline.features.build import build_activities
from panther_pipeline.features.config import ActivityConfig, FeatureConfig
from panther_pipeline.ledger.columns import OrderColumn
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.facts import AttributeFacts, EventFacts, StoreFacts, known_values
from panther_pipeline.online.histories import build_histories
from panther_pipeline.online.history import UserHistory
from panther_pipeline.online.record import UserRecord
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.units import to_us


class StoreConfig(Config):
    """How much of the past the online store knows event by event."""

    num_recent_events: int = Field(gt=0)  # of a user, one by one; at least what the backbone reads
    lateness_days: int = Field(ge=0)  # by which an event may arrive late and still count in the features
    label_wait_days: int = Field(ge=0)  # an event waits so long for a label that arrives after it


@dataclass(frozen=True, kw_only=True)
class StoreSources:
    """What a finished run left."""

    valid_events: pl.DataFrame
    profiles: pl.DataFrame
    sequences: TokenSequences  # row n is row n of valid_events
    surprises: pl.DataFrame  # of all events, from `cache.embed.measure_surprises`
    forecasts: UserForecasts
    backbone: Backbone
    tokenizer: Tokenizer


@dataclass(frozen=True, kw_only=True)
class OnlineStore:
    """Records to publish as one generation; what is loaded is the store itself."""

    facts: StoreFacts
    sources: StoreSources
    activity: ActivityConfig

    def records(self) -> Iterator[tuple[Key, bytes]]:
        """Every record once, users first; built as they are asked for."""
        sources, facts = self.sources, self.facts
        users, counterparties = build_activities(sources.valid_events, self.activity, facts.as_of_us)
        histories = build_histories(
            sources.sequences,
            sources.surprises["surprise"].to_numpy(),
            sources.valid_events["event_id"],
            sources.forecasts,
            refresh=facts.refresh,
            num_recent=facts.num_recent_events,
            max_events=sources.backbone.max_events,
        )
        with tqdm(desc="online store", unit="record", unit_scale=True) as bar:
            activities = dict(users)
            empty = UserActivity.empty(self.activity)
            for user_id, history in histories:
                record = UserRecord(history=history, activity=activities.get(user_id, empty))
                yield ("user", user_id), record.pack()
                bar.update()
            for user_id, history in self._users_without_events():
                yield ("user", user_id), UserRecord(history=history, activity=empty).pack()
                bar.update()
            for counterparty, activity in counterparties:
                yield ("counterparty", counterparty), activity.pack()
                bar.update()

    def save(self, folder: Path) -> None:
        """Publish as a new generation; whoever reads the old one is not disturbed."""
        write_generation(folder, self.records(), self.facts.as_json())

    @classmethod
    def load(cls, folder: Path) -> LmdbStore:
        """Open the current generation; see `LmdbStore.open`."""
        return LmdbStore.open(folder)

    def _users_without_events(self) -> Iterator[tuple[str, UserHistory]]:
        """Whoever has a profile and no event yet: their first one is read with the profile they have."""
        sources = self.sources
        if "user_id" not in sources.profiles.columns:
            return
        known = pl.DataFrame({"user_id": sources.sequences.user_ids}, schema={"user_id": pl.String})
        others = sources.profiles.select("user_id").unique().join(known, on="user_id", how="anti").sort("user_id")
        ids_UP = sources.tokenizer.encode_profiles(sources.profiles, others["user_id"].to_list())
        for user_id, ids_P in zip(others["user_id"].to_list(), ids_UP, strict=True):
            yield user_id, UserHistory.empty(ids_P, len(sources.tokenizer.fields))


def build_online_store(
    sources: StoreSources, config: StoreConfig, refresh: str, features: FeatureConfig, schema: LedgerSchema
) -> OnlineStore:
    """What a decision needs of every user and every counterparty.

    Args:
        sources: of one run.
        config: how much of the past is known event by event.
        refresh: how often the cache is renewed, `embedding.events.refresh`.
        features: what the features look back on.
        schema: which column of the ledger is what.

    Raises:
        ConfigurationError: fewer events are kept than the backbone reads.
        ArtifactError: card numbers of events, profiles and sequences were replaced with different keys.
    """
    if config.num_recent_events < sources.backbone.max_events:
        raise ConfigurationError(
            f"embedding.store.num_recent_events is {config.num_recent_events}, but the backbone reads up to "
            f"{sources.backbone.max_events} events (pretraining.model.max_events): keep at least as many."
        )
    categories = tuple(a.name for a in schema.attributes if a.kind == "category")
    activity = ActivityConfig(
        features=features,
        attributes=categories,
        lateness_days=config.lateness_days,
        label_wait_days=config.label_wait_days,
    )
    facts = StoreFacts(
        as_of_us=sources.forecasts.as_of_us,
        refresh=refresh,
        num_recent_events=config.num_recent_events,
        num_next_transactions=sources.forecasts.probs_UK.shape[1],
        lateness_days=config.lateness_days,
        label_wait_days=config.label_wait_days,
        backbone_digest=sources.backbone.digest,
        tokenizer_digest=sources.tokenizer.digest,
        features=features,
        events=_describe_events(schema, sources.tokenizer, _card_key_id(sources)),
    )
    return OnlineStore(facts=facts, sources=sources, activity=activity)


def _describe_events(schema: LedgerSchema, tokenizer: Tokenizer, card_key_id: str | None) -> EventFacts:
    """The events of a ledger; examples are the most frequent values that the tokenizer knows."""
    frequent = {column: values[0] for column, values in known_values(tokenizer).items()}
    attributes = [
        AttributeFacts(name=a.name, kind=a.kind, example=frequent.get(a.name, "A") if a.kind == "category" else 1.0)
        for a in schema.attributes
    ]
    time = schema.event_time
    return EventFacts(
        attributes=attributes,
        has_counterparty=schema.counterparty is not None,
        amount_range_cents=schema.range_cents if schema.amount else None,
        earliest_us=0 if isinstance(time, OrderColumn) else to_us(time.earliest_instant),
        has_labels=schema.label is not None,
        card_key_id=card_key_id,
        masks_card_numbers=schema.card_numbers == "tokenize",
    )


def _card_key_id(sources: StoreSources) -> str | None:
    """Of the key with which ids were made: the service replaces card numbers with no other."""
    ids = [*sources.valid_events.select(pl.col("^(user_id|event_id|counterparty)$"))]
    ids += [*sources.profiles.select(pl.col("^user_id$")), pl.Series(sources.sequences.user_ids, dtype=pl.String)]
    return key_id_of(ids)
