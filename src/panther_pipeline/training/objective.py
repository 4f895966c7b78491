"""What is descended: every loss of the configuration, by name, and their weighted sum.

Shape letters: B windows, A those of a step in all processes, T positions, N positions with a target, D width,
V vocabulary.
"""

import torch
from torch import Tensor, nn

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.tokenizer.sequences import TokenSequences
from panther_pipeline.training.batches import IGNORE, TrainingBatch, attribute_target_counts, target_counts
from panther_pipeline.training.config import LossConfig
from panther_pipeline.training.losses import (
    AttributeHeads,
    contrastive_loss,
    draw_candidates,
    draw_following,
    next_token_loss,
    next_tuple_loss,
    sampled_token_loss,
)


class Objective(nn.Module):
    """The model and what is needed beside it in training alone.

    It is trained, compiled, checkpointed and restored as a whole; evaluation and the finished backbone are `model`.
    """

    def __init__(self, model: nn.Module, config: LossConfig, sequences: TokenSequences) -> None:
        """Heads of its own are drawn from torch's generator.

        Args:
            model: a `NextTokenModel`.
            sequences: what is trained on; only the split "train" is read.

        Raises:
            ConfigurationError: a term that this model cannot be trained with.
        """
        super().__init__()
        self.model = model
        self.config = config
        self.predicts_tuples = getattr(model, "tuple_head", None) is not None
        self._check()
        if config.softmax == "sampled":
            counts_V = torch.from_numpy(target_counts(sequences))
            # A function of the data: no part of a checkpoint.
            self.register_buffer("frequency_V", (counts_V / counts_V.sum()).float(), persistent=False)
        if config.attribute_weight:
            counts_f = attribute_target_counts(sequences)
            self.attribute_heads = AttributeHeads(model.config.dim, counts_f, target_counts(sequences))
        if config.all_action_weight:
            self.all_action_projection = nn.Linear(model.config.dim, model.config.dim)
            nn.init.eye_(self.all_action_projection.weight)  # what comes next is a first guess at what comes later
            nn.init.zeros_(self.all_action_projection.bias)

    def forward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Scalars, nats: "loss" is the one to descend, the others are its parts before they are weighted.

        Terms that are means over targets are multiplied by the batch's share, so that the mean over the processes of
        each value is what one process would get for the whole batch of the step.
        """
        config, is_target_BT = self.config, batch.targets_BT != IGNORE
        h_ND = self.model(batch.events)[is_target_BT]
        name, main = self._next_event(h_ND, batch.targets_BT[is_target_BT], batch.attribute_targets_BTF[is_target_BT])
        main = batch.share * main
        losses, total = {name: main}, main
        for name, weight, term in (
            ("contrastive_loss", config.contrastive_weight, self._contrast),
            ("attribute_loss", config.attribute_weight, self._attributes),
            ("all_action_loss", config.all_action_weight, self._all_action),
        ):
            value = term(h_ND, batch, is_target_BT) if weight else None
            if value is not None:
                losses[name] = value
                total = total + weight * value
        return {"loss": total} | losses

    def _next_event(self, h_ND: Tensor, targets_N: Tensor, attributes_NF: Tensor) -> tuple[str, Tensor]:
        model, config = self.model, self.config
        if self.predicts_tuples:
            return "next_tuple_loss", next_tuple_loss(h_ND, attributes_NF, model.tuple_head)
        if config.softmax == "full":
            return "next_token_loss", next_token_loss(h_ND, targets_N, model)
        candidates = draw_candidates(
            targets_N, self.frequency_V, config.num_uniform_negatives, config.in_batch_negatives
        )
        return "sampled_token_loss", sampled_token_loss(h_ND, targets_N, model, candidates)

    def _contrast(self, h_ND: Tensor, batch: TrainingBatch, is_target_BT: Tensor) -> Tensor | None:
        # Of the whole step, in every process: profiles are cheap, and a part of them has fewer that are alike.
        profile_ids_AP = batch.step_profile_ids_AP
        profile_vector = getattr(self.model, "profile_vector", None)
        profile_AD = profile_vector(profile_ids_AP) if profile_vector else None
        if profile_AD is None:
            return None
        return contrastive_loss(profile_AD, profile_ids_AP, self.config.contrastive_temperature)

    def _attributes(self, h_ND: Tensor, batch: TrainingBatch, is_target_BT: Tensor) -> Tensor:
        return batch.share * self.attribute_heads(h_ND, batch.attribute_targets_BTF[is_target_BT])

    def _all_action(self, h_ND: Tensor, batch: TrainingBatch, is_target_BT: Tensor) -> Tensor:
        drawn = draw_following(is_target_BT, self.config.all_action_events)
        h_ND = self.all_action_projection(h_ND)
        loss = self._next_event(h_ND, batch.targets_BT[drawn], batch.attribute_targets_BTF[drawn])[1]
        return batch.share * loss

    def _check(self) -> None:
        config, problems = self.config, []
        if self.predicts_tuples and config.softmax == "sampled":
            problems.append("softmax: sampled samples tokens, and a factored model predicts none; set softmax: full")
        if self.predicts_tuples and config.attribute_weight:
            problems.append("a factored model predicts the attributes already; set attribute_weight: 0")
        if problems:
            raise ConfigurationError(f"pretraining.loss does not fit the model: {'; '.join(problems)}.")
