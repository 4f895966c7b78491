"""From the artifacts of a run to a scorer, once it is known that they belong to one run."""

from dataclasses import dataclass
from typing import Any, Self

from panther_pipeline.cache.stores.lmdb_store import LmdbSource
from panther_pipeline.cache.stores.record_store import Records, StoreSource
from panther_pipeline.digest import file_digest
from panther_pipeline.errors import ArtifactError, ConfigurationError
from panther_pipeline.features.config import ActivityConfig
from panther_pipeline.features.online import OnlineFeatures
from panther_pipeline.online.artifacts import ScorerArtifacts
from panther_pipeline.online.facts import StoreFacts
from panther_pipeline.online.ingest import Ingestor
from panther_pipeline.online.journal import read_event
from panther_pipeline.online.refresh import Refresher
from panther_pipeline.online.scorer import OnlineScorer
from panther_pipeline.online.served_backbone import ServedBackbone
from panther_pipeline.publish import read_manifest
from panther_pipeline.scoring.head import FraudHead
from panther_pipeline.scoring.identity import identify
from panther_pipeline.tokenizer.event_tokenizer import EventTokenizer


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """What decides, beside the store."""

    backbone: ServedBackbone
    tokenizer: EventTokenizer
    head: FraudHead

    @classmethod
    def load(cls, artifacts: ScorerArtifacts) -> Self:
        """Read and verify them.

        Raises:
            ArtifactError: one is missing, damaged or not finite.
            ConfigurationError: the head is untrained.
        """
        parts = cls(
            backbone=ServedBackbone.load(artifacts.backbone),
            tokenizer=EventTokenizer.load(artifacts.tokenizer),
            head=FraudHead.load(artifacts.head),
        )
        if not parts.head.is_trained:
            raise ConfigurationError(
                "the fraud head is untrained: its ledger has no known frauds before the test, so there is nothing to "
                "serve. Declare ledger.schema.label and run finetune again."
            )
        if parts.backbone.is_factored:  # every decision computes with it
            _ = parts.backbone.model
        return parts


class ScorerLoader:
    """Loads one scorer after the other: a model that has not changed on disk is not read again for a new store."""

    def __init__(self, artifacts: ScorerArtifacts, source: StoreSource | None = None) -> None:
        """Args: source: of the store, in place of that at `artifacts.store`: for a fleet that shares one."""
        self._artifacts = artifacts
        self._source = LmdbSource(artifacts.store) if source is None else source
        self._loaded: tuple[list[Any], ModelParts] | None = None

    def __call__(self) -> OnlineScorer:
        """Open and verify everything a decision needs; see `load_scorer`."""
        artifacts = self._artifacts
        # The facts too: a head of other features may have the same weights.
        manifests = [read_manifest(path) for path in (artifacts.backbone, artifacts.head)]
        tokenizer = file_digest(artifacts.tokenizer) if artifacts.tokenizer.is_file() else None  # to be refused below
        identity = [*((m["files"], m["facts"]) for m in manifests), tokenizer]
        if self._loaded is None or self._loaded[0] != identity:
            self._loaded = identity, ModelParts.load(artifacts)
        return open_scorer(self._loaded[1], self._source)


def load_scorer(artifacts: ScorerArtifacts, source: StoreSource | None = None) -> OnlineScorer:
    """Open and verify everything a decision needs.

    Args:
        artifacts: of one run.
        source: of the store, in place of that at `artifacts.store`: for a fleet that shares one.

    Raises:
        ArtifactError: an artifact is missing, damaged or not finite, or two of them are of different runs; names both
            and their digests.
        ConfigurationError: the head is untrained.
        StoreAwayError: the server that keeps the store cannot be used now.
    """
    return open_scorer(ModelParts.load(artifacts), LmdbSource(artifacts.store) if source is None else source)


def open_scorer(parts: ModelParts, source: StoreSource) -> OnlineScorer:
    """The scorer of a model on a store, which has taken in the events that arrived since it was built.

    Raises:
        ArtifactError: they are of different runs.
        StoreAwayError: the server that keeps the store cannot be used now.
    """
    ingestors: dict[str, Ingestor] = {}  # by generation
    carried: dict[str, None] = {}  # users of events that arrived since the generation was built

    def ingestor_of(records: Records) -> Ingestor:
        if records.generation not in ingestors:
            ingestors[records.generation] = make_ingestor(parts, StoreFacts.read(records.facts))
        return ingestors[records.generation]

    def replay(records: Records, row: bytes) -> None:
        event = read_event(row)
        ingestor_of(records).ingest(records, event)
        carried[event.user_id] = None

    # Before it is opened, which takes the records away from whoever still serves the old run.
    make_ingestor(parts, StoreFacts.read(source.facts()))
    opened = source.open(replay)
    try:
        facts = StoreFacts.read(opened.facts)
        return OnlineScorer(store=opened, facts=facts, ingestor=ingestor_of(opened), head=parts.head, touched=carried)
    except BaseException:
        opened.close()
        raise


def check_store(artifacts: ScorerArtifacts, source: StoreSource) -> None:
    """Refuse a published store that no scorer of these artifacts could serve, without opening it.

    Raises:
        ArtifactError, ConfigurationError: as `load_scorer`.
    """
    make_ingestor(ModelParts.load(artifacts), StoreFacts.read(source.facts()))


def make_ingestor(parts: ModelParts, facts: StoreFacts) -> Ingestor:
    """What takes in events for a store with these facts.

    Raises:
        ArtifactError: the parts are of different runs.
    """
    categories = tuple(a.name for a in facts.events.attributes if a.kind == "category")
    activity = ActivityConfig(
        features=facts.features,
        attributes=categories,
        lateness_days=facts.lateness_days,
        label_wait_days=facts.label_wait_days,
    )
    check_same_run(parts, facts, activity)
    refresher = Refresher(
        backbone=parts.backbone,
        counts_V=parts.tokenizer.vocabulary.counts_V,
        refresh=facts.refresh,
        num_next=facts.num_next_transactions,
    )
    return Ingestor(
        tokenizer=parts.tokenizer, refresher=refresher, activity=activity, num_recent=facts.num_recent_events
    )


def check_same_run(parts: ModelParts, facts: StoreFacts, activity: ActivityConfig) -> None:
    """Refuse parts of different runs, whose numbers mean different things though their shapes agree.

    Raises:
        ArtifactError: names every pair that does not belong together, with both digests.
    """
    backbone, tokenizer, head = parts.backbone, parts.tokenizer, parts.head
    names = OnlineFeatures(activity.features, activity.attributes).names
    missing = sorted(set(head.feature_names) - set(names))
    if missing:
        raise ArtifactError(
            f"the fraud head reads {', '.join(missing[:3])}, which the online store's features do not have. Run "
            "`kedro run --pipelines=embed,finetune` with one configuration."
        )
    of_run = identify(backbone, activity.features, head.feature_names)
    pairs = [
        ("the backbone's tokenizer", backbone.tokenizer_digest, "the tokenizer", tokenizer.digest),
        ("the online store's backbone", facts.backbone_digest, "the backbone", backbone.digest),
        ("the online store's tokenizer", facts.tokenizer_digest, "the tokenizer", tokenizer.digest),
        ("the fraud head's backbone", head.identity["backbone_digest"], "the backbone", of_run["backbone_digest"]),
        ("the fraud head's tokenizer", head.identity["tokenizer_digest"], "the tokenizer", tokenizer.digest),
        (
            "the fraud head's features",
            head.identity["features_digest"],
            "the online store's",
            of_run["features_digest"],
        ),
    ]
    wrong = [f"{a} is {x[:12] or 'unknown'}, {b} {y[:12]}" for a, x, b, y in pairs if x != y]
    if wrong:
        raise ArtifactError(
            f"these artifacts are of different runs: {'; '.join(wrong)}. Run `kedro run --pipelines=embed,finetune` "
            "(or all pipelines) so that they are made of one backbone, and start again."
        )
