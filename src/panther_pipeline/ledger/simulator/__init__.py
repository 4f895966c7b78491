"""A payment ledger drawn from an explicit process, so that the best possible result is known."""

from panther_pipeline.ledger.simulator.config import FraudRates, SimulationConfig
from panther_pipeline.ledger.simulator.fraud_posterior import fraud_posterior, maker_posterior
from panther_pipeline.ledger.simulator.ledger import SimulatedLedger, simulate_ledger
from panther_pipeline.ledger.simulator.truth import (
    SimulationTruth,
    best_next_tokens,
    category_probs,
    fraud_probs,
)

__all__ = [
    "FraudRates",
    "SimulatedLedger",
    "SimulationConfig",
    "SimulationTruth",
    "best_next_tokens",
    "category_probs",
    "fraud_posterior",
    "fraud_probs",
    "maker_posterior",
    "simulate_ledger",
]
