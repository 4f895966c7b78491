"""What a finished run of the test ledger left, opened for tests of what is served from it."""

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from panther_pipeline.cache.embed import UserEmbeddingConfig
from panther_pipeline.cache.users import forecast_users
from panther_pipeline.features.config import FeatureConfig
from panther_pipeline.features.event import OnlineEvent, read_events
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.online.build import OnlineStore, StoreConfig, StoreSources, build_online_store
from panther_pipeline.online.load import ScorerArtifacts, load_scorer
from panther_pipeline.online.scorer import OnlineScorer
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class FinishedRun:
    """Artifacts and tables of one run."""

    data: Path
    ledger: str
    params: dict[str, Any]

    @cached_property
    def artifacts(self) -> ScorerArtifacts:
        return ScorerArtifacts.of_ledger(self.data, self.ledger)

    def table(self, layer: str, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.data / layer / self.ledger / f"{name}.parquet")

    @cached_property
    def events(self) -> pl.DataFrame:
        return self.table("03_primary", "valid_events")

    @cached_property
    def backbone(self) -> Backbone:
        return Backbone.load(self.artifacts.backbone)

    def online_store(self, as_of: str | None, **store: Any) -> OnlineStore:
        """The store of this run as of an instant."""
        params, sequences = self.params["embedding"], TokenSequences.load(self._of("05_model_input", "token_sequences"))
        config = UserEmbeddingConfig(**{**params["users"], "as_of": as_of})
        sources = StoreSources(
            valid_events=self.events,
            profiles=self.table("03_primary", "profiles"),
            sequences=sequences,
            surprises=self.table("07_model_output", "event_surprises"),
            forecasts=forecast_users(self.backbone, sequences, config),
            backbone=self.backbone,
            tokenizer=Tokenizer.load(self.artifacts.tokenizer),
        )
        return build_online_store(
            sources,
            StoreConfig(**{**params["store"], **store}),
            params["events"]["refresh"],
            FeatureConfig(**self.params["finetuning"]["features"]),
            LedgerSchema(**self.params["ledger"]["schema"]),
        )

    def scorer(self, folder: Path, as_of: str | None = None, **store: Any) -> OnlineScorer:
        """A scorer over a store as of an instant, saved in a folder of its own."""
        self.online_store(as_of, **store).save(folder)
        return load_scorer(replace(self.artifacts, store=folder))

    def events_from(self, as_of: str, num: int | None = None) -> tuple[list[int], list[OnlineEvent]]:
        """Rows of `events` and events at or after an instant, in the order in which they happened."""
        later = self.events.with_row_index("row").filter(
            pl.col("event_time") >= pl.lit(as_of).str.to_datetime(time_zone="UTC")
        )
        later = later.sort("event_time", "user_id", "event_seq").head(num or self.events.height)
        names = [a["name"] for a in self.params["ledger"]["schema"]["attributes"]]
        return later["row"].to_list(), list(read_events(later, names))

    def copy(self, folder: Path) -> "FinishedRun":
        """The same run in files of its own, to spoil."""
        for path in (self.artifacts.backbone, self.artifacts.tokenizer, self.artifacts.head, self.artifacts.store):
            target = folder / path.relative_to(self.data)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
        return FinishedRun(folder, self.ledger, self.params)

    def _of(self, layer: str, name: str) -> Path:
        return self.data / layer / self.ledger / name
