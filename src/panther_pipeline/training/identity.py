"""Which run a state belongs to: a snapshot is continued only by a run that would have come to it itself."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.config import TrainingConfig
from panther_pipeline.training.device import uses_bfloat16
from panther_pipeline.training.objective import Objective

# What the weights depend on beside the data: how batches, losses and steps are made, and the layers.
_CODE_FOLDERS = (Path(__file__).parent, Path(__file__).parents[1] / "model")
# A snapshot holds the best weights and the last. What device, precision and threads come to is digested instead: "auto"
# and the device that it finds are the same run.
_NO_STATE_DEPENDS_ON = {"keep", "save_every", "device", "precision", "num_threads"}
_THE_FALL_DEPENDS_ON = {"max_steps", "decay_share", "lr_floor"}


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Digests of all that the states of a run depend on; two, since the early ones do not depend on its length."""

    trunk: str  # of states from which the learning rate has not begun to fall
    whole: str
    decay_begin: int  # steps done when it begins

    def at(self, step: int) -> str:
        """The identity of the state after so many steps."""
        return self.trunk if step <= self.decay_begin else self.whole


def run_identity(
    objective: Objective,
    sequences: TokenSequences,
    config: TrainingConfig,
    device: torch.device,
    num_threads: int,
) -> RunIdentity:
    """Digest configuration, data, code, first weights, kind of device, precision, threads and torch's version.

    Args:
        num_threads: those that are used, whatever the configuration leaves to torch.
    """
    digest = hashlib.sha256()
    # str(objective) names the layers; what is no layer (how they are merged, say) stands in the model's config.
    facts = [
        str(objective),
        repr(getattr(objective.model, "config", None)),
        objective.config.model_dump(),
        device.type,
        uses_bfloat16(config, device),
        num_threads,
        torch.__version__,
        sequences.tokenizer_digest,
        # A finished training is not repeated, so a change of its code must be as visible as one of a parameter.
        source_digest([*_CODE_FOLDERS, *_own_file(objective.model)]),
    ]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(objective.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    for array in (
        sequences.offsets_U1, sequences.token_ids_N, sequences.attribute_ids_NF,
        sequences.time_us_N, sequences.split_N, sequences.profile_ids_UP,
    ):  # fmt: skip
        digest.update(memoryview(array.ravel()))

    def with_config(left_out: set[str]) -> str:
        own = digest.copy()
        own.update(json.dumps(config.model_dump(exclude=left_out), sort_keys=True).encode())
        return own.hexdigest()

    return RunIdentity(
        trunk=with_config(_NO_STATE_DEPENDS_ON | _THE_FALL_DEPENDS_ON),
        whole=with_config(_NO_STATE_DEPENDS_ON),
        decay_begin=config.decay_begin,
    )


def source_digest(places: list[Path]) -> str:
    """SHA-256 of the Python sources in these folders (and of these files), names and contents."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _own_file(model: nn.Module) -> list[Path]:
    # A class typed into a notebook has none.
    file = getattr(sys.modules.get(type(model).__module__), "__file__", None)
    return [Path(file)] if file else []
