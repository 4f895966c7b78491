"""From a configuration to the network it names."""

from collections.abc import Mapping

import numpy as np
import torch

from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.networks.config import NetworkConfig
from panther_pipeline.scoring.networks.deep_cross import DeepCrossNetwork
from panther_pipeline.scoring.networks.deep_fm import DeepFactorizationMachine
from panther_pipeline.scoring.networks.logistic import LogisticNetwork
from panther_pipeline.scoring.networks.shapes import CALIBRATION_KNOTS


def build_network(num_numbers: int, embedding_dim: int, config: NetworkConfig) -> HeadNetwork:
    """An untrained network for so many numbers and an embedding of that width."""
    if config.kind == "logistic":
        return LogisticNetwork(num_numbers, embedding_dim)
    kinds = {"dcn": DeepCrossNetwork, "deep_fm": DeepFactorizationMachine}
    return kinds[config.kind](num_numbers, embedding_dim, config)


def restore_network(
    num_numbers: int, embedding_dim: int, config: NetworkConfig, weights: Mapping[str, np.ndarray]
) -> HeadNetwork:
    """The network that `HeadNetwork.as_arrays` was taken of."""
    network = build_network(num_numbers, embedding_dim, config)
    network.set_calibration({name: weights[name] for name in CALIBRATION_KNOTS})  # their size
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return network.eval()
