"""Where training runs and in which precision."""

import torch

from panther_pipeline.errors import TrainingError
from panther_pipeline.training.config import TrainingConfig


def choose_device(config: TrainingConfig) -> torch.device:
    """The device of the configuration; "auto" is a GPU when there is one, in a process with others its own."""
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise TrainingError("device: cuda, but torch finds no GPU. Use device: auto or cpu, or install torch for CUDA.")
    if config.device == "cpu" or not has_gpu:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def uses_bfloat16(config: TrainingConfig, device: torch.device) -> bool:
    """Whether products are taken in bfloat16; weights, the optimizer's moments and losses stay float32."""
    return config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
