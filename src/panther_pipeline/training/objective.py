"""What is descended: every loss of the configuration, by name, and their weighted sum.

Shape letters: B windows, T positions, N positions with a target, D width.
"""

from torch import Tensor, nn

from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, TrainingBatch
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.losses import contrastive_loss, next_token_loss, next_tuple_loss


class Objective(nn.Module):
    """The model and what is needed beside it in training alone.

    It is trained, compiled, checkpointed and restored as a whole; evaluation and the finished backbone are `model`.
    """

    def __init__(self, model: nn.Module, config: LossConfig, sequences: TokenSequences) -> None:
        """Heads of its own are drawn from torch's generator.

        Args:
            model: a `NextTokenModel`.
            sequences: what is trained on; only the split "train" is read.
        """
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Scalars, nats: "loss" is the one to descend, the others are its parts before they are weighted."""
        is_target_BT = batch.targets_BT != IGNORE
        h_ND = self.model(batch.events)[is_target_BT]
        parts = [self._generation(h_ND, batch, is_target_BT), self._contrast(batch)]
        terms = [part for part in parts if part is not None]
        total = terms[0][2]
        for _, weight, value in terms[1:]:
            total = total + weight * value
        return {"loss": total} | {name: value for name, _, value in terms}

    def _generation(self, h_ND: Tensor, batch: TrainingBatch, is_target_BT: Tensor) -> tuple[str, float, Tensor]:
        model = self.model
        tuple_head = getattr(model, "tuple_head", None)
        if tuple_head is not None:
            return "next_tuple_loss", 1.0, next_tuple_loss(h_ND, batch.attribute_targets_BTF[is_target_BT], tuple_head)
        targets_N = batch.targets_BT[is_target_BT]
        return "next_token_loss", 1.0, next_token_loss(h_ND, targets_N, model.next_token_logits, model.vocab_size)

    def _contrast(self, batch: TrainingBatch) -> tuple[str, float, Tensor] | None:
        weight, profile_ids_BP = self.config.contrastive_weight, batch.events.profile_ids_BP
        profile_vector = getattr(self.model, "profile_vector", None)
        profile_BD = profile_vector(profile_ids_BP) if profile_vector and weight else None
        if profile_BD is None:
            return None
        value = contrastive_loss(profile_BD, profile_ids_BP, self.config.contrastive_temperature)
        return "contrastive_loss", weight, value
