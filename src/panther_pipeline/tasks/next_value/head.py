"""The heads as they are saved and served: (state, what the user had before) → scores of every value.

Training lives in fit.py: what serves imports none of it.

Shape letters: M states, D width, V ids of one attribute, P pairs of a state and a value its user had before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from panther_pipeline.errors import ArtifactError
from panther_pipeline.publish import open_published, publish_folder
from panther_pipeline.tokenizer.fields import FittedField

_WEIGHTS = "weights.safetensors"
# int64 (P,) places among the states, int64 (P,) values, int64 (P,) how often the user had each of them before
Past = tuple[np.ndarray, np.ndarray, np.ndarray]


class ValueNetwork(nn.Module):
    """Linear scores of the normed state, plus what is copied from the user's own past.

    The copy term is w · log(1 + n / a) for a value the user had n times before, with w and a learned. But for a
    constant it is w · log(n + a), the smoothed log frequency: with w = 1 and a flat linear part the forecast is the
    posterior mean of the user's own distribution under a Dirichlet prior of weight a on every value. Both together are
    a product: what this moment asks for, among what this user is known to choose.
    """

    def __init__(self, dim: int, num_ids: int, *, copy_past: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        # Nothing is drawn, from torch's global state least of all: the first forecast is the bias.
        self.out = nn.utils.skip_init(nn.Linear, dim, num_ids)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.copy_weight = nn.Parameter(torch.ones(())) if copy_past else None
        self.log_prior = nn.Parameter(torch.zeros(())) if copy_past else None

    @property
    def copy_past(self) -> bool:
        return self.copy_weight is not None

    def forward(self, h_MD: Tensor, past: Past | None) -> Tensor:
        """Logits (M, V) of every id; `past` is not read without the copy term."""
        scores_MV = self.out(self.norm(h_MD))
        if self.copy_weight is None:
            return scores_MV
        states_P, values_P, counts_P = (torch.from_numpy(column).to(h_MD.device) for column in past)
        copied_P = self.copy_weight * torch.log1p(counts_P * torch.exp(-self.log_prior))
        return scores_MV.index_put((states_P, values_P), copied_P, accumulate=True)

    @torch.no_grad()
    def start_from_frequencies(self, counts_V: np.ndarray) -> None:
        """Let the untrained linear part forecast how often each value came in training."""
        frequency_V = (torch.from_numpy(counts_V).double() + 0.5) / (counts_V.sum() + 0.5 * len(counts_V))
        self.out.bias.copy_(frequency_V.log())


@dataclass(frozen=True, kw_only=True)
class NextValueHead:
    """One attribute: its values and the network that scores them."""

    field: FittedField
    network: ValueNetwork

    @property
    def attribute(self) -> str:
        return self.field.name

    def score(self, h_MD: Tensor, past: Past) -> Tensor:
        """Logits of every value as the next one, float32 (M, V); columns as in `field.labels`.

        Args:
            h_MD: state after the latest event of a user.
            past: from `SeenTokens.counted_pairs` of that user's values up to and including that event.
        """
        with torch.inference_mode():
            return self.network(h_MD.float(), past)


class NextValueHeads:
    """The heads of all attributes of a ledger, one artifact; none for a ledger that asks for none."""

    def __init__(self, heads: list[NextValueHead], *, dim: int, backbone_digest: str) -> None:
        self.heads = heads
        self.dim = dim
        self.backbone_digest = backbone_digest
        for head in heads:
            head.network.eval()

    def save(self, path: Path) -> None:
        """Publish weights (safetensors) and description (JSON) as one artifact."""
        heads = [{"field": h.field.model_dump(), "copy_past": h.network.copy_past} for h in self.heads]
        publish_folder(
            path, self._write, facts={"dim": self.dim, "backbone_digest": self.backbone_digest, "heads": heads}
        )

    def _write(self, folder: Path) -> None:
        states = {
            f"{number}.{name}": tensor.contiguous()
            for number, head in enumerate(self.heads)
            for name, tensor in head.network.state_dict().items()
        }
        save_file(states, folder / _WEIGHTS)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, digests checked.

        Raises:
            ArtifactError: missing, damaged, of another shape, or with weights that are not finite.
        """
        folder, facts = open_published(path)
        try:
            weights = load_file(folder / _WEIGHTS)
            dim, digest = int(facts["dim"]), str(facts["backbone_digest"])
            heads = [_load_head(number, head, weights, dim) for number, head in enumerate(facts["heads"])]
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise ArtifactError(
                f"{path} does not hold next-value heads of this version ({error}). Run finetune again."
            ) from None
        return cls(heads, dim=dim, backbone_digest=digest)


def _load_head(number: int, description: dict[str, Any], weights: dict[str, Tensor], dim: int) -> NextValueHead:
    field = FittedField.model_validate(description["field"])
    prefix = f"{number}."
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    broken = [name for name, tensor in own.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"weights not finite: {', '.join(broken)}")
    network = ValueNetwork(dim, field.size, copy_past=bool(description["copy_past"]))
    network.load_state_dict(own)
    return NextValueHead(field=field, network=network)
