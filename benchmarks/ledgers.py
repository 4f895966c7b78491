"""The ledgers that are measured: which environment of conf/ describes them, and what is different here.

The blocks are read from conf/ as Kedro reads them, so a measurement uses the parameters a user has.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from common import ROOT
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS
from panther_pipeline.tokenizer.config import VocabularyConfig

Format = Literal["csv", "parquet"]

# The catalog entry of a file, by its format: every cell of a CSV is read as text.
SOURCES: dict[Format, dict[str, Any]] = {
    "csv": {"type": "panther_pipeline.datasets.DelimitedDataset"},
    "parquet": {"type": "panther_pipeline.datasets.ParquetDataset"},
}
NO_PROFILES = {"type": "panther_pipeline.datasets.EmptyTableDataset", "reason": "not part of the measurement"}


def _category(name: str, max_categories: int) -> dict[str, Any]:
    return {"name": name, "source": "category", "kind": "categorical", "max_categories": max_categories}


# All twelve columns of large_ledger.py have a role. Nine fields make a token: more than any ledger of conf/ has.
_TWELVE_COLUMNS = {
    "ledger": {
        "schema": {
            "attributes": [
                {"name": name, "column": name, "kind": "category"}
                for name in ("category", "channel", "currency", "merchant_city", "device", "card_product")
            ],
            "profiles": None,
        }
    },
    "tokenizer": {
        "vocabulary": {
            "fields": [
                _category("category", 64),
                _category("channel", 16),
                {"name": "amount", "source": "amount", "kind": "quantile", "num_bins": 8, "significant_digits": 2},
                _category("currency", 8),
                _category("device", 16),
                _category("card_product", 8),
                {"name": "hour", "source": "hour", "kind": "fixed", "edges": [6, 10, 14, 18]},
                {"name": "weekday", "source": "weekday", "kind": "fixed", "edges": [5]},
                {"name": "gap", "source": "gap", "kind": "log", "num_bins": 8, "significant_digits": 1},
            ]
        }
    },
}


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A ledger as the configuration describes it."""

    env: str
    overrides: dict[str, Any] = field(default_factory=dict)  # of its parameters

    def config_loader(self) -> Any:
        """The project's configuration with the overrides, as `kedro run --params` would give them."""
        return CONFIG_LOADER_CLASS(
            str(ROOT / "conf"), env=self.env, runtime_params={**self.overrides, "ledger_name": "bench"},
            **CONFIG_LOADER_ARGS,
        )  # fmt: skip

    def blocks(self) -> tuple[LedgerSchema, VocabularyConfig, SplitConfig]:
        """What the columns mean, what makes a token, which events are training events."""
        parameters = self.config_loader()["parameters"]
        ledger = parameters["ledger"]
        return (
            LedgerSchema(**ledger["schema"]),
            VocabularyConfig(**parameters["tokenizer"]["vocabulary"]),
            SplitConfig(**ledger["splits"]),
        )


LEDGERS = {
    "handbook": Ledger(env="handbook"),
    "large": Ledger(env="base", overrides=_TWELVE_COLUMNS),
}


def source_columns(schema: LedgerSchema) -> list[str]:
    """The columns of the source that have a role, each once; forbidden ones are never read."""
    columns = [*schema.event_keys().values(), *([schema.label.column] if schema.label else [])]
    return list(dict.fromkeys(columns))


def catalog_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The source of a ledger that is one file, CSV or Parquet by its suffix, and has no profiles."""
    source = SOURCES[path.suffix.removeprefix(".")]
    return {"raw_transactions": {**source, "filepath": str(path.resolve())}, "raw_profiles": NO_PROFILES}
