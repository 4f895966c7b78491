"""Kedro dataset that simulates a payment ledger on load, so that `kedro run` works on a fresh clone.

Catalog entries with the same `simulation` block cost one simulation per process.
"""

from functools import lru_cache
from threading import Lock
from typing import Any, Literal, get_args

import polars as pl
from kedro.io.core import AbstractDataset, DatasetError
from pydantic import ValidationError

from panther_pipeline.ledger.simulator import (
    SimulatedLedger,
    SimulationConfig,
    SimulationTruth,
    simulate_ledger,
)

Part = Literal["transactions", "profiles", "oracle", "truth", "fraud_kinds"]

_simulate_lock = Lock()


@lru_cache(maxsize=1)
def _simulate_cached(config: SimulationConfig) -> SimulatedLedger:
    return simulate_ledger(config)


def _simulate_once(config: SimulationConfig) -> SimulatedLedger:
    with _simulate_lock:  # parts loaded by parallel threads wait for one simulation instead of running four
        return _simulate_cached(config)


class SimulatedLedgerDataset(AbstractDataset[None, pl.DataFrame | SimulationTruth]):
    """One part of a simulated ledger, read-only.

    Example in a catalog:

    ```yaml
    raw_transactions:
      type: panther_pipeline.datasets.simulated_ledger.SimulatedLedgerDataset
      part: transactions   # or profiles, oracle, truth, fraud_kinds
      simulation: {num_users: 7000, start: "2024-01-01", end: "2024-07-01", seed: 7}
    ```
    """

    def __init__(self, *, part: Part, simulation: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """Check part and parameters; nothing is simulated before the first load.

        Args:
            part: `transactions`, `profiles`, `oracle` and `fraud_kinds` are tables, `truth` is a SimulationTruth.
            simulation: the fields of SimulationConfig.
            metadata: anything a plugin wants, for example the layer in Kedro-Viz.

        Raises:
            DatasetError: an unknown part, or parameters that do not fit; the message lists all of them.
        """
        if part not in get_args(Part):
            raise DatasetError(
                f"part '{part}' of a simulated ledger is unknown; choose one of {', '.join(get_args(Part))}"
            )
        try:
            self._config = SimulationConfig(**simulation)
        except ValidationError as error:
            raise DatasetError(f"simulation parameters do not fit: {_explain(error)}") from error
        self._part = part
        self.metadata = metadata

    def load(self) -> pl.DataFrame | SimulationTruth:
        """The part; the ledger is simulated once per process and configuration."""
        return getattr(_simulate_once(self._config), self._part)

    def save(self, data: None) -> None:
        """Refuse: a simulated ledger has nowhere to be written.

        Raises:
            DatasetError: always; the message says what to change.
        """
        raise DatasetError(
            f"The simulated ledger ({self._part}) is read-only: it is made from its parameters. "
            "Change `simulation` in the catalog, or give this output a dataset with a filepath."
        )

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"part": self._part, "simulation": self._config.model_dump()}


def _explain(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'simulation'}: {e['msg']}" for e in error.errors())
