"""What the backbone is trained to do; how long, how fast and on what."""

from typing import Literal, Self

from pydantic import Field, model_validator

from panther_pipeline.config import Config


class LossConfig(Config):
    """The objective: next transaction + weight · further terms; a term of weight 0 is off."""

    softmax: Literal["full", "sampled"] = "full"  # over the vocabulary, or over the batch's candidates
    num_uniform_negatives: int = Field(default=1024, ge=0)  # sampled: cut to the vocabulary
    in_batch_negatives: bool = True  # sampled: the other targets of the batch as well
    contrastive_weight: float = Field(default=0.1, ge=0)  # similar profiles attract; off without profiles
    contrastive_temperature: float = Field(default=0.1, gt=0)
    attribute_weight: float = Field(default=0.0, ge=0)  # attributes of the next event; not for factored models
    all_action_weight: float = Field(default=0.0, ge=0)  # a random one of the next all_action_events events
    all_action_events: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.softmax == "sampled" and not (self.num_uniform_negatives or self.in_batch_negatives):
            raise ValueError("softmax: sampled needs num_uniform_negatives >= 1 or in_batch_negatives: true")
        return self


class TrainingConfig(Config):
    """One training run; with the data, the model, the objective and the thread count it determines every weight."""

    seed: int = Field(default=0, ge=0)
    batch_size: int = Field(default=32, ge=1)  # windows of at most max_events events
    max_steps: int = Field(default=1000, ge=1)  # optimizer steps
    schedule: Literal["cosine", "wsd"] = "cosine"  # of the learning rate; wsd = warm-up, stable, decay
    warmup_steps: int = Field(default=50, ge=0)  # linear from 0 to peak_lr
    decay_share: float = Field(default=0.2, gt=0, le=1)  # of max_steps, its end: where wsd decays
    lr_floor: float = Field(default=0.1, ge=0, le=1)  # share of peak_lr at max_steps
    peak_lr: float = Field(default=1e-3, gt=0)
    betas: list[float] = Field(default=[0.9, 0.98], min_length=2, max_length=2)
    weight_decay: float = Field(default=0.01, ge=0)  # on matrices only
    grad_clip: float = Field(default=1.0, gt=0)  # largest norm of the gradient
    log_every: int = Field(default=25, ge=1)  # steps between two points of the training curve
    eval_every: int = Field(default=200, ge=1)  # steps between two looks at the validation sample
    eval_windows: int = Field(default=256, ge=1)  # size of that sample
    save_every: int = Field(default=100, ge=1)  # steps between two checkpoints: the most that a crash costs
    best_metric: Literal["nll", "hr@1", "hr@10"] = "nll"  # what makes a look the best one
    keep: Literal["best", "last"] = "best"  # the weights a training ends with
    patience: int | None = Field(default=None, ge=1)  # looks without a better one while the rate falls; null = no end
    num_processes: int = Field(default=1, ge=1)  # that share each batch; on GPUs one GPU each. 1 = this process
    num_threads: int | None = Field(default=None, ge=1)  # CPU threads; null = torch's default. Part of the identity
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto = a GPU when there is one
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto = bfloat16 on a GPU, float32 on a CPU

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.warmup_steps >= self.max_steps:
            problems.append(f"warmup_steps < max_steps is required; got {self.warmup_steps} and {self.max_steps}")
        elif self.decay_begin < self.warmup_steps:
            problems.append(
                f"the decay begins at step {self.decay_begin}, before warmup_steps = {self.warmup_steps} are over: "
                f"lower warmup_steps or decay_share = {self.decay_share}"
            )
        if self.num_processes > self.batch_size:
            problems.append(f"num_processes <= batch_size is required; got {self.num_processes} and {self.batch_size}")
        if not all(0 <= beta < 1 for beta in self.betas):
            problems.append(f"betas must lie in [0, 1); got {self.betas}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def decay_begin(self) -> int:
        """The first step whose learning rate depends on `max_steps`."""
        if self.schedule == "cosine":
            return self.warmup_steps
        return self.max_steps - max(1, round(self.decay_share * self.max_steps))


class TransferConfig(Config):
    """Where the first weights come from."""

    ledger: str  # the one that is trained on
    source: str | None  # ledger whose finished backbone training begins with; null = none, fresh weights
    allow_later_source: bool  # though it learnt from events as late as those this ledger is judged on

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == self.ledger:
            raise ValueError(
                f"source_ledger is {self.source}, the ledger that is trained itself: its backbone would begin with "
                "what its own validation chose. Name another ledger, or null for fresh weights; to train longer, raise "
                "pretraining.training.max_steps"
            )
        return self
