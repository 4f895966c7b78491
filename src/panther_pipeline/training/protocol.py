"""What a model must offer to be trained and evaluated here; the backbone and every neural baseline do."""

from typing import Protocol

from torch import Tensor

from panther_pipeline.model.batch import EventBatch


class NextTokenModel(Protocol):
    """A `torch.nn.Module` that maps histories to states and states to scores of the next token, linear(h', W, b).

    With a `tuple_head: TupleHead` it predicts attributes, not tokens, and its scores of tokens are not called.
    With a method `profile_vector(profile_ids_BP) -> Tensor | None` it is also trained contrastively.
    Auxiliary losses ask for the width of its states, `config.dim`.
    """

    vocab_size: int
    training: bool

    @property
    def max_events(self) -> int: ...

    def __call__(self, batch: EventBatch) -> Tensor: ...

    def next_token_factors(
        self, h: Tensor, token_ids_S: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]: ...

    def train(self, mode: bool = True) -> "NextTokenModel": ...

    def eval(self) -> "NextTokenModel": ...
