"""Which weights a network of a kind and size has, by the names that torch gives them: checked where torch is not there.

Shape letters: F numbers, D embedding width, K frequencies, W width of one embedded number, X = F·W + D, L rank.
"""

from collections.abc import Iterable
from itertools import pairwise

from panther_pipeline.scoring.networks.config import NetworkConfig

Shape = tuple[int, ...]
CALIBRATION_KNOTS = ("isotonic_logits_K", "isotonic_values_K")  # of any length, the same for both


def weight_shapes(num_numbers: int, embedding_dim: int, config: NetworkConfig) -> dict[str, Shape]:
    """Name → shape of every weight and statistic, but for CALIBRATION_KNOTS."""
    shapes: dict[str, Shape] = {
        "number_mean_F": (num_numbers,),
        "number_std_F": (num_numbers,),
        "embedding_mean_D": (embedding_dim,),
        "embedding_std_D": (embedding_dim,),
        "log_odds": (),
        "platt_slope": (),
        "platt_intercept": (),
    }
    if config.kind == "logistic":
        return shapes | _linear("out", num_numbers + embedding_dim, 1)
    width = config.number_width
    shapes |= {
        "numbers.frequency_FK": (num_numbers, config.num_frequencies),
        "numbers.weight_FKW": (num_numbers, 2 * config.num_frequencies, width),
        "numbers.bias_FW": (num_numbers, width),
    }
    if config.kind == "deep_fm":
        sizes = [(num_numbers + 1) * width, *config.deep_widths]
        shapes |= _linear("sequence", embedding_dim, width) | _linear("line", num_numbers + embedding_dim, 1)
        return shapes | _hidden(sizes) | _linear("out", sizes[-1], 1)
    size_X = num_numbers * width + embedding_dim
    for layer in range(config.num_cross_layers):
        shapes |= _cross(f"cross.{layer}.map", size_X, config.cross_rank)
    sizes = [size_X, *config.deep_widths]
    return shapes | _hidden(sizes) | _linear("out", size_X + sizes[-1], 1)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _hidden(sizes: Iterable[int]) -> dict[str, Shape]:
    """A linear map, ReLU and dropout each: three entries of the sequence."""
    shapes: dict[str, Shape] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes |= _linear(f"deep.{3 * layer}", inputs, outputs)
    return shapes


def _cross(name: str, size_X: int, rank: int | None) -> dict[str, Shape]:
    if rank is None:
        return _linear(name, size_X, size_X)
    return {f"{name}.0.weight": (rank, size_X)} | _linear(f"{name}.1", rank, size_X)
