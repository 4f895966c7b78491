"""Floating-point operations of a training step that a model calls for, and what the machine can do at most.

Shape letters: B windows, T positions, N positions with a target, D width, F hidden width, K prototypes, V vocabulary.
"""

import time

import torch

from panther_pipeline.model.config import ModelConfig

_TRAINING = 3  # passes over the products: forward once, backward for the inputs and for the weights
_PEAK_SIZE = 2048


def panther_step_flops(
    config: ModelConfig,
    *,
    vocab_size: int,
    num_attributes: int,
    num_profile_attributes: int,
    num_windows: int,
    num_positions: int,
    num_targets: int,
) -> int:
    """Of one training step of a structured backbone: 3 · 2 · (multiplications of all matrix products, forward).

    Products alone are counted, the usual convention (PaLM, arXiv 2204.02311, appendix B): attention as if no position
    were masked, nothing for what is computed twice to save memory. Per position

        6 · parameters of matrices:  4·D² + 2·D·F in a block, + D² for the prototypes' queries (+ w·D² where the
                                     convolution is dense), (D + attributes·A)·D + 17·D for the input
        6 · 2·T·D                    attention of a block: scores and weighted sums
        6 · 2·K·D                    prototypes of a block, likewise; and 6·2·K·D² per step for their keys and values
        6 · V·D                      output layer, only at positions with a target

    Depthwise convolutions, norms, activations and the contrastive term (B²·D) are no part of it.

    Raises:
        ValueError: a mixer other than attention, sprm and both.
    """
    if config.mixer not in ("attention", "sprm", "both"):
        raise ValueError(f"no formula for mixer {config.mixer}.")
    dim, width = config.dim, config.attribute_dim
    has_attention, has_patterns = config.mixer != "sprm", config.mixer != "attention"
    read = num_positions + (config.profile == "first_token")
    block, block_once = 2 * dim * config.feed_forward_dim, 0
    if has_attention:
        block += 4 * dim**2 + 2 * read * dim
    if has_patterns:
        block += dim**2 + 2 * config.num_prototypes * dim
        block += config.kernel_size * dim**2 if config.convolution == "dense" else 0
        block_once = 2 * config.num_prototypes * dim**2
    gap = 17 * dim if config.time_encoding != "none" else 0
    read_attributes = num_attributes if config.inputs == "token_and_attributes" else 0
    entry = (dim + read_attributes * width) * dim + gap
    profile = num_profile_attributes * width * dim if config.profile != "none" else 0
    multiplications = (
        num_windows * (read * config.num_layers * block + num_positions * entry + profile)
        + config.num_layers * block_once
        + num_targets * vocab_size * dim
    )
    return _TRAINING * 2 * multiplications


def gpt2_step_flops(
    *, dim: int, num_layers: int, hidden_dim: int, vocab_size: int, num_windows: int, num_positions: int
) -> int:
    """Of one training step of GPT-2, which scores every position: counted as `panther_step_flops` does."""
    block = 4 * dim**2 + 2 * dim * hidden_dim + 2 * num_positions * dim
    return _TRAINING * 2 * num_windows * num_positions * (num_layers * block + vocab_size * dim)


def peak_flops_per_s(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """The best of many products of two large square matrices, with torch's current number of threads."""
    size = _PEAK_SIZE * (4 if device.type == "cuda" else 1)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        begin = time.perf_counter()
        a @ b
        wait_for(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
