"""From a configuration to the network it names."""

from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.deep_cross import DeepCrossNetwork
from panther_pipeline.scoring.networks.deep_fm import DeepFactorizationMachine
from panther_pipeline.scoring.networks.logistic import LogisticNetwork


def build_network(num_numbers: int, embedding_dim: int, config: NetworkConfig) -> HeadNetwork:
    """An untrained network for so many numbers and an embedding of that width."""
    if config.kind == "logistic":
        return LogisticNetwork(num_numbers, embedding_dim)
    kinds = {"dcn": DeepCrossNetwork, "deep_fm": DeepFactorizationMachine}
    return kinds[config.kind](num_numbers, embedding_dim, config)
