"""A finished run as the serving benchmark needs it: a store as of an instant, many users like its users, their events.

Shape letters: D width of the embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import ROOT
from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.stores.record_store import Key
from panther_pipeline.cache.users import forecast_users
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.event import OnlineEvent, read_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.build import OnlineStore, StoreConfig, StoreSources, build_online_store
from panther_pipeline.online.load import ScorerArtifacts
from panther_pipeline.online.record import UserRecord
from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer

_NOISE = 1e-3  # of the embedding of a user who is made from another


@dataclass(frozen=True)
class ServedRun:
    """Artifacts and tables of one run; nothing is written below `data`."""

    data: Path
    ledger: str
    env: str

    @cached_property
    def params(self) -> dict[str, Any]:
        return CONFIG_LOADER_CLASS(str(ROOT / "conf"), env=self.env, **CONFIG_LOADER_ARGS)["parameters"]

    @cached_property
    def artifacts(self) -> ScorerArtifacts:
        return ScorerArtifacts.of_ledger(self.data, self.ledger)

    @cached_property
    def backbone(self) -> Backbone:
        return Backbone.load(self.artifacts.backbone)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.artifacts.tokenizer)

    @cached_property
    def events(self) -> pl.DataFrame:
        return self.table("03_primary", "valid_events")

    def table(self, layer: str, name: str) -> pl.DataFrame:
        """A table that the run left.

        Raises:
            FileNotFoundError: it did not; says what to run.
        """
        path = self.data / layer / self.ledger / f"{name}.parquet"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. Run `kedro run` for ledger {self.ledger} first, or say --data."
            )
        return pl.read_parquet(path)

    def store(self, as_of: str, **changes: Any) -> OnlineStore:
        """The online store as of an instant, as pipeline `embed` builds it."""
        params = self.params["embedding"]
        sequences = TokenSequences.load(self.data / "05_model_input" / self.ledger / "token_sequences")
        sources = StoreSources(
            valid_events=self.events,
            profiles=self.table("03_primary", "profiles"),
            sequences=sequences,
            surprises=self.table("07_model_output", "event_surprises"),
            forecasts=forecast_users(
                self.backbone, sequences, UserEmbeddingConfig(**{**params["users"], "as_of": as_of})
            ),
            backbone=self.backbone,
            tokenizer=self.tokenizer,
        )
        return build_online_store(
            sources,
            StoreConfig(**{**params["store"], **changes}),
            params["events"]["refresh"],
            FeatureConfig(**self.params["finetuning"]["features"]),
            LedgerSchema(**self.params["ledger"]["schema"]),
        )

    def events_from(self, as_of: str) -> list[OnlineEvent]:
        """Events at or after an instant, in the order in which they happened, without what became known later."""
        later = self.events.filter(pl.col("event_time") >= pl.lit(as_of).str.to_datetime(time_zone="UTC"))
        names = [a["name"] for a in self.params["ledger"]["schema"]["attributes"]]
        events = read_events(later.sort("event_time", "user_id", "event_seq"), names)
        return [replace(event, label=None, label_time_us=None) for event in events]


class Crowd:
    """Many users who are like the users of a run: their records under other ids, the embedding a little moved."""

    def __init__(self, records: dict[Key, bytes], config: Any, num_users: int, seed: int = 0) -> None:
        """Args: records: of a run's store; config: how its activities were kept; num_users: the run's own included."""
        self.own_records, self.config, self._seed = records, config, seed
        self.originals = [name for kind, name in records if kind == "user"]
        self.num_users = max(num_users, len(self.originals))

    def user_id(self, number: int) -> str:
        """The first ones are the run's own."""
        turn, place = divmod(number, len(self.originals))
        return f"{self.originals[place]}~{turn}" if turn else self.originals[place]

    def records(self) -> Iterator[tuple[Key, bytes]]:
        """All records, made as they are asked for."""
        yield from self.own_records.items()
        rng = np.random.default_rng(self._seed)
        for place, name in enumerate(self.originals):
            record = UserRecord.unpack(self.own_records["user", name], self.config)
            for number in range(len(self.originals) + place, self.num_users, len(self.originals)):
                yield ("user", self.user_id(number)), _moved(record, rng).pack()

    def spread(self, events: list[OnlineEvent], num: int) -> list[OnlineEvent]:
        """Events of users drawn at random from the whole crowd, each with the next event of whom it is made from."""
        first: dict[str, OnlineEvent] = {}
        for event in events:
            first.setdefault(event.user_id, event)
        rng = np.random.default_rng(self._seed)
        numbers = rng.choice(self.num_users, min(4 * num, self.num_users), replace=False).tolist()
        found = [(number, first.get(self.originals[number % len(self.originals)])) for number in numbers]
        usable = [(number, event) for number, event in found if event is not None][:num]
        return [replace(event, user_id=self.user_id(number)) for number, event in usable]


def _moved(record: UserRecord, rng: np.random.Generator) -> UserRecord:
    forecast = record.history.forecast
    if forecast is None:
        return record
    noise_D = rng.normal(0, _NOISE, len(forecast.embedding_D)).astype(np.float32)
    forecast = replace(forecast, embedding_D=forecast.embedding_D + noise_D)
    return replace(record, history=replace(record.history, forecast=forecast))
