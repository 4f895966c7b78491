"""The backbone: a causal transformer over transaction tokens (PANTHER, arXiv 2510.10102 §3.3).

Two kinds, as the tokenizer says. "structured" reads and predicts one token per event. "factored" reads the
attribute ids alone and predicts the next event's, one after the other (`tuple_head`); it has no token vectors and
scores no tokens.

Different here: attention and pattern recognition run side by side on the same normed input; rotary angles
turn with order and with elapsed time; the state at event i is a forecast state: it has read events up to i
and their times, never the time of the next one.

Shape letters: B windows, T events, F token attributes, P profile attributes, D width, V vocabulary, S some
tokens of it, K prototypes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn.functional import linear, normalize
from torch.overrides import TorchFunctionMode

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.model.batch import EventBatch
from panther_pipeline.model.block import make_block
from panther_pipeline.model.clock import Clock
from panther_pipeline.model.config import ModelConfig
from panther_pipeline.model.embedding import EventEmbedding
from panther_pipeline.model.tuple_head import TupleHead
from panther_pipeline.model.weights import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    BackboneWeights,
    not_a_backbone,
)
from panther_pipeline.publish import publish_folder
from panther_pipeline.tokenizer.config import TokenizerKind


class Backbone(nn.Module):
    """Turns a history into one state per event, each from the events up to and including it."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        vocab_size: int,
        attribute_sizes: list[int],
        profile_sizes: list[int],
        tokenizer_digest: str = "",
        tokenizer_kind: TokenizerKind = "structured",
        seed: int = 0,
    ) -> None:
        """Weights are a function of `seed`; the global random state is left as it was.

        Raises:
            ConfigurationError: another `tokenizer_kind` than there are; a factored one of which only tokens are read.
        """
        super().__init__()
        if tokenizer_kind not in get_args(TokenizerKind):
            raise ConfigurationError(f"tokenizer_kind '{tokenizer_kind}' is not one of {get_args(TokenizerKind)}.")
        is_structured = tokenizer_kind == "structured"
        if not is_structured and config.inputs == "token":
            raise ConfigurationError(
                "a factored tokenizer has no tokens to read: set pretraining.model.inputs to token_and_attributes, or "
                "tokenizer.vocabulary.kind to structured."
            )
        self.config = config
        self.vocab_size = vocab_size
        self.attribute_sizes = attribute_sizes
        self.profile_sizes = profile_sizes
        self.tokenizer_digest = tokenizer_digest
        self.tokenizer_kind: TokenizerKind = tokenizer_kind
        # The last instant that the weights were fitted to or chosen on, see training/learnt.py; None = unknown. No part
        # of the digest: it changes no output.
        self.learnt_until: str | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            read_tokens = vocab_size if is_structured else None
            self.embedding = EventEmbedding(config, read_tokens, attribute_sizes, profile_sizes)
            self.blocks = nn.ModuleList(make_block(config) for _ in range(config.num_layers))
            self.norm = nn.LayerNorm(config.dim)
            has_bias = is_structured and config.score == "dot"
            self.token_bias_V = nn.Parameter(torch.zeros(vocab_size)) if has_bias else None
            self.tuple_head = None if is_structured else TupleHead(config.dim, attribute_sizes)
            for module in self.embedding.modules():
                if isinstance(module, nn.Embedding):
                    # Small, since the tied output multiplies these with states of length √D.
                    nn.init.normal_(module.weight, std=0.02)

    @property
    def max_events(self) -> int:
        """Longest history read, T."""
        return self.config.max_events

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.norm.weight.device

    def forward(self, batch: EventBatch) -> Tensor:
        """State of each event, float (B, T, D); states of padding are meaningless.

        Raises:
            ConfigurationError: the batch is longer than `max_events`.
        """
        x_BTD, clock = self._embed(batch)
        for block in self.blocks:
            x_BTD = block(x_BTD, clock)
        return self.norm(self._drop_profile_position(x_BTD))

    def next_token_logits(self, h: Tensor, token_ids_S: Tensor | None = None) -> Tensor:
        """Scores (..., V) of every token as the next one, from states (..., D); tied to the token vectors.

        Args:
            h: states.
            token_ids_S: int64; only these tokens, (..., S).

        Raises:
            ConfigurationError: a factored backbone, which has none.
        """
        return linear(*self.next_token_factors(h, token_ids_S))

    def next_token_factors(self, h: Tensor, token_ids_S: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """What `next_token_logits` is `linear` of: (..., D), (V, D) and, for the score "dot", (V,).

        Args and errors: see `next_token_logits`.
        """
        if self.embedding.token is None:
            raise ConfigurationError(
                "a factored backbone scores combinations of attributes, not tokens: use its tuple_head, or train with "
                "tokenizer.vocabulary.kind: structured."
            )
        vectors_VD, bias_V = self.embedding.token.weight, self.token_bias_V
        if token_ids_S is not None:
            vectors_VD, bias_V = self.embedding.token(token_ids_S), None if bias_V is None else bias_V[token_ids_S]
        if self.config.score == "cosine":
            # The states are divided, not the scores: there are V / D times as many of those.
            h, vectors_VD = normalize(h, dim=-1) / self.config.score_temperature, normalize(vectors_VD, dim=-1)
        return h, vectors_VD, bias_V

    def profile_vector(self, profile_ids_BP: Tensor) -> Tensor | None:
        """p_u, (B, D), or None when this backbone reads no profile."""
        return None if self.embedding.profile is None else self.embedding.profile(profile_ids_BP)

    def prototype_weights(self, batch: EventBatch, layer: int = -1) -> Tensor | None:
        """How much each event resembles each prototype of one block, (B, T, K), rows sum to 1.

        Returns:
            None when the mixer has no prototypes.
        """
        x_BTD, clock = self._embed(batch)
        blocks = list(self.blocks)
        for block in blocks[: layer % len(blocks)]:
            x_BTD = block(x_BTD, clock)
        weights_BTK = blocks[layer].prototype_weights(x_BTD)
        return None if weights_BTK is None else self._drop_profile_position(weights_BTK)

    @torch.no_grad()
    def start_from_frequencies(self, counts_V: np.ndarray) -> None:
        """Let the untrained model predict the token frequencies: training starts where popularity ends.

        For the structured kind; the other one's `tuple_head` has a method of this name. Cosines have no bias: nothing
        happens.

        Args:
            counts_V: int64 how often each token was a training target.
        """
        if self.token_bias_V is None:
            return
        frequency_V = (torch.from_numpy(counts_V).double() + 0.5) / (counts_V.sum() + 0.5 * len(counts_V))
        self.token_bias_V.copy_(frequency_V.log())

    def _embed(self, batch: EventBatch) -> tuple[Tensor, Clock]:
        num_events = batch.token_ids_BT.shape[1]
        if num_events > self.max_events:
            raise ConfigurationError(
                f"a history of {num_events} events is longer than max_events = {self.max_events}. "
                "Keep the newest max_events events."
            )
        time_us_BT = batch.time_us_BT
        if self.embedding.profile_mode == "first_token":
            time_us_BT = torch.cat([time_us_BT[:, :1], time_us_BT], dim=1)
        return self.embedding(batch), Clock.read(time_us_BT, self.config)

    def _drop_profile_position(self, x_BTD: Tensor) -> Tensor:
        return x_BTD[:, 1:] if self.embedding.profile_mode == "first_token" else x_BTD

    @property
    def digest(self) -> str:
        """SHA-256 of the description and the weights, name by name."""
        return self.as_weights().digest

    def save(self, folder: Path) -> None:
        """Publish the weights (float32) and the description as one artifact."""
        weights = self.as_weights()

        def write(temporary: Path) -> None:
            save_file(weights.arrays, temporary / WEIGHTS_FILE)
            description = json.dumps(weights.whole_description, indent=2) + "\n"
            (temporary / DESCRIPTION_FILE).write_text(description, encoding="utf-8")

        facts = {"tokenizer_digest": self.tokenizer_digest, "backbone_digest": weights.digest}
        known = {} if self.learnt_until is None else {"learnt_until": self.learnt_until}
        publish_folder(folder, write, facts=facts | known)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, on the CPU, ready to embed (evaluation mode).

        Raises:
            ArtifactError: missing or damaged; a description that is not one; weights of other names or shapes
                than the description says, or not finite.
        """
        return cls.restore(BackboneWeights.read(folder), folder)

    @classmethod
    def restore(cls, weights: BackboneWeights, folder: Path) -> Self:
        """The backbone of weights that were read from a folder; the folder is not looked at again.

        Raises:
            ArtifactError: names or shapes of the weights are not what their description says.
        """
        try:
            # Shapes without memory: a hostile size is refused before it is allocated. Without initial values, since to
            # draw some that have no memory torch imports its compiler, which takes seconds.
            with torch.device("meta"), _WithoutInitialValues():
                expected = cls(weights.config, **weights.description).state_dict()
            _check_shapes(weights.arrays, expected)
            backbone = cls(weights.config, **weights.description)
            backbone.load_state_dict({name: torch.from_numpy(array) for name, array in weights.arrays.items()})
        except (ValueError, TypeError, RuntimeError) as error:
            raise not_a_backbone(folder, error) from None
        backbone.learnt_until = weights.learnt_until
        return backbone.eval()

    def as_weights(self) -> BackboneWeights:
        """Description and weights, as they are saved."""
        # The first kind is not written: files and digests of structured backbones are as they always were.
        kind = {} if self.tokenizer_kind == "structured" else {"tokenizer_kind": self.tokenizer_kind}
        description = {
            "vocab_size": self.vocab_size,
            "attribute_sizes": self.attribute_sizes,
            "profile_sizes": self.profile_sizes,
            "tokenizer_digest": self.tokenizer_digest,
            **kind,
        }
        arrays = {name: t.detach().float().cpu().contiguous().numpy() for name, t in self.state_dict().items()}
        return BackboneWeights(
            config=self.config, description=description, arrays=arrays, learnt_until=self.learnt_until
        )


class _WithoutInitialValues(TorchFunctionMode):
    """Within it, `torch.nn.init` leaves tensors as they are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _check_shapes(arrays: dict[str, np.ndarray], expected: dict[str, Tensor]) -> None:
    if set(arrays) != set(expected):
        others = sorted(set(arrays) ^ set(expected))[:3]
        raise ValueError(f"it holds other weights than the description; they differ in {others}")
    for name, tensor in expected.items():
        if arrays[name].shape != tuple(tensor.shape):
            raise ValueError(
                f"weight {name} has shape {list(arrays[name].shape)}, the description says {list(tensor.shape)}"
            )
