"""From the declared variants to the configurations that are trained; mistakes are found here, before any training."""

from dataclasses import dataclass, field, replace

import torch
from pydantic import ValidationError

from panther_pipeline.ablation.config import AblationConfig, Variant
from panther_pipeline.ablation.parameters import TOLERANCE, count_parameters, match_size, shape_backbone
from panther_pipeline.config import Config
from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.tokenizer.config import TokenizerKind
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.config import LossConfig, TrainingConfig
from panther_pipeline.training.objective import Objective

_SIZE = {"feed_forward_dim", "num_layers"}


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The three blocks of `pretraining` that decide a model; of the environment, or of a variant."""

    model: ModelConfig
    loss: LossConfig
    training: TrainingConfig


@dataclass(frozen=True, kw_only=True)
class PlannedVariant:
    """One model of the grid, complete."""

    name: str
    blocks: Blocks
    num_parameters: int  # without tables, see `parameters`
    matched: dict[str, int] = field(default_factory=dict)  # the key of the model that was chosen to make sizes equal


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training."""

    variant: PlannedVariant
    seed: int

    @property
    def training(self) -> TrainingConfig:
        return self.variant.blocks.training.model_copy(update={"seed": self.seed})

    def __str__(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What `run_grid` trains."""

    config: AblationConfig
    variants: list[PlannedVariant]  # the reference first
    same: dict[str, str] = field(default_factory=dict)  # variants that are another one here, by name, and which

    @property
    def reference(self) -> PlannedVariant:
        return self.variants[0]

    @property
    def runs(self) -> list[PlannedRun]:
        """Seed by seed: what is there when a grid is stopped compares all variants."""
        return [PlannedRun(variant=variant, seed=seed) for seed in self.config.seeds for variant in self.variants]

    def is_equal_in_size(self, variant: PlannedVariant) -> bool:
        """Whether it has as many weights as the reference, to `TOLERANCE`."""
        target = self.reference.num_parameters
        return abs(variant.num_parameters - target) <= TOLERANCE * target


def plan_grid(
    config: AblationConfig, base: Blocks, sequences: TokenSequences, tokenizer_kind: TokenizerKind = "structured"
) -> Grid:
    """Build and check every variant.

    With `equal_parameters`, a variant that states neither feed_forward_dim nor num_layers gets the one that brings it
    nearest to the reference's number of weights. A variant that is the same model as an earlier one on
    this ledger is not trained twice.

    Args:
        config: the grid.
        base: the blocks of the environment.
        sequences: what will be trained on; decides sizes.
        tokenizer_kind: of the tokens.

    Raises:
        ConfigurationError: names all that is wrong with all variants, key by key.
    """
    problems: list[str] = []
    if tokenizer_kind != "structured":
        problems.append("tokenizer.vocabulary.kind: an ablation ranks tokens, which a factored tokenizer does not have")
    drafts = {name: _build(name, variant, base, problems) for name, variant in config.chosen.items()}
    reference = drafts[config.reference]
    target = None if reference is None else _count(config.reference, reference, sequences, problems)
    variants: list[PlannedVariant] = []
    same: dict[str, str] = {}
    for name, blocks in drafts.items():
        if blocks is None or target is None:
            continue
        states_size = not _SIZE.isdisjoint(config.chosen[name].model)
        is_matched = config.equal_parameters and name != config.reference and not states_size
        matched = _match(name, blocks.model, sequences, target, problems) if is_matched else {}
        blocks = replace(blocks, model=blocks.model.model_copy(update=matched))
        # Compared as they are trained: a variant that states its size is not one whose size was chosen.
        twin = next((v.name for v in variants if _is_same(v.blocks, blocks, sequences)), None)
        if twin is not None:
            same[name] = twin
            continue
        count = _count(name, blocks, sequences, problems)
        if count is not None:
            variants.append(PlannedVariant(name=name, blocks=blocks, num_parameters=count, matched=matched))
    if problems:
        raise ConfigurationError("\n".join(["The grid cannot be trained:", *(f"  {line}" for line in problems)]))
    return Grid(config=config, variants=variants, same=same)


def _build(name: str, variant: Variant, base: Blocks, problems: list[str]) -> Blocks | None:
    """The blocks of the environment with the overrides of a variant; None where that is no configuration."""
    built: dict[str, Config] = {}
    for block in ("model", "loss", "training"):
        default: Config = getattr(base, block)
        overrides = getattr(variant, block)
        try:
            built[block] = type(default)(**default.model_dump() | overrides)
        except ValidationError as error:
            problems += [f"ablation.variants.{name}.{block}{where}: {what}" for where, what in _faults(error)]
    if "seed" in variant.training:
        problems.append(f"ablation.variants.{name}.training.seed: seeds are those of the grid, see ablation.num_seeds")
    return Blocks(**built) if len(built) == 3 else None


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    """Place and sentence of each fault."""
    return [
        ("".join(f".{part}" for part in fault["loc"]), fault["msg"].removeprefix("Value error, "))
        for fault in error.errors()
    ]


def _count(name: str, blocks: Blocks, sequences: TokenSequences, problems: list[str]) -> int | None:
    try:
        with torch.device("meta"):
            Objective(shape_backbone(blocks.model, sequences), blocks.loss, sequences)
    except ValueError as error:  # a part of the model, or a loss, that refuses this combination
        problems.append(f"ablation.variants.{name}: {error}")
        return None
    return count_parameters(blocks.model, sequences)


def _match(
    name: str, model: ModelConfig, sequences: TokenSequences, target: int, problems: list[str]
) -> dict[str, int]:
    try:
        return match_size(model, sequences, target)
    except ValueError as error:
        problems.append(f"ablation.variants.{name}: {error}")
        return {}


def _is_same(one: Blocks | None, other: Blocks, sequences: TokenSequences) -> bool:
    return one is not None and _effective(one, sequences) == _effective(other, sequences)


def _effective(blocks: Blocks, sequences: TokenSequences) -> Blocks:
    """Without what has no effect: nothing about profiles matters where none is read."""
    if sequences.profile_sizes and blocks.model.profile != "none":
        return blocks
    return replace(
        blocks,
        model=blocks.model.model_copy(update={"profile": "none", "profile_weight": 0.0}),
        loss=blocks.loss.model_copy(update={"contrastive_weight": 0.0}),
    )
