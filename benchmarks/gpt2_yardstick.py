"""Hugging Face's GPT-2 at our width, depth, heads, context and vocabulary: what a public implementation takes.

It reads token ids alone: no attributes, times or profiles. Random weights; nothing is downloaded.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from panther_pipeline.model.config import ModelConfig
from panther_pipeline.training.batches import IGNORE, TrainingBatch

Form = Literal["best", "released"]


class Gpt2Objective(nn.Module):
    """GPT-2 and its next-token loss, called as our `Objective` is."""

    def __init__(self, config: ModelConfig, vocab_size: int, form: Form) -> None:
        """
        Args:
            form: "best" = what is fastest: no dropout on attention, so that the fused kernel may be taken, and GELU's
                tanh form as one operation; "released" = dropout on attention and GELU written out, as GPT2Config has
                them. The function computed is the same but for that dropout.
        """
        super().__init__()
        self.model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab_size,
                n_positions=config.max_events,
                n_embd=config.dim,
                n_layer=config.num_layers,
                n_head=config.num_heads,
                n_inner=config.feed_forward_dim,
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=0.0 if form == "best" else config.dropout,
                activation_function="gelu_pytorch_tanh" if form == "best" else "gelu_new",
                attn_implementation="sdpa",
                use_cache=False,
                bos_token_id=0,
                eos_token_id=0,
            )
        )

    def forward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        # Padding is on the right: the causal mask hides it, and without another mask the fused kernel may be taken.
        logits_BTV = self.model(input_ids=batch.events.token_ids_BT).logits
        targets_N = batch.targets_BT.flatten()
        return {"loss": cross_entropy(logits_BTV.flatten(0, 1).float(), targets_N, ignore_index=IGNORE)}
