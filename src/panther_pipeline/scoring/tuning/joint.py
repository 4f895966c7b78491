"""Backbone and head as one network: from histories and numbers to the logit of fraud.

Shape letters: R rows of the task, r some of them, F numbers, D embedding width.
"""

import numpy as np
import torch
from torch import Tensor, nn

from panther_pipeline.cache.embed import EventEmbeddingConfig, as_of_rows
from panther_pipeline.cache.states import as_of_states
from panther_pipeline.model.backbone import Backbone
from panther_pipeline.scoring.networks.base import HeadNetwork
from panther_pipeline.scoring.task import FraudTask
from panther_pipeline.scoring.tuning.windows import FitBatch, FitWindows
from panther_pipeline.tokenizer.sequences import TokenSequences

_ROWS_AT_ONCE = 1024


class JointModel(nn.Module):
    """The embedding is computed where the frozen head finds it ready; features and surprises stay as they are.

    Surprises are those of the pretrained backbone: its forecast is what an event deviates from, and a loss that knows
    only fraud would wear it down.
    """

    def __init__(
        self,
        backbone: Backbone,
        network: HeadNetwork,
        task: FraudTask,
        sequences: TokenSequences,
        events: EventEmbeddingConfig,
    ) -> None:
        super().__init__()
        self.backbone, self.network = backbone, network.to(backbone.device)
        self.sequences, self.batch_size = sequences, events.batch_size
        self.as_of_R = as_of_rows(sequences, events.refresh)[task.events["row"].to_numpy()]
        self.numbers_RF = torch.from_numpy(np.hstack([task.features_RF, task.surprises_RS]))

    def forward(self, fit: FitWindows, batch: FitBatch) -> Tensor:
        """Logits (r,) of a batch's rows, with gradients to both parts."""
        h_mD = fit.plan.states(self.backbone, self.sequences, batch.windows_B)
        num_bare = len(batch.rows_r) - len(batch.state_r)
        bare = h_mD.new_zeros(num_bare, h_mD.shape[1])
        embedding_rD = torch.cat([h_mD[torch.from_numpy(batch.state_r)], bare])
        return self.network(self.numbers_RF[batch.rows_r].to(h_mD.device), embedding_rD)

    def embed(self, rows: np.ndarray) -> np.ndarray:
        """float32 (r, D): the as-of embeddings of some rows of the task, as `embed_events` gives them."""
        self.backbone.eval()
        return as_of_states(self.backbone, self.sequences, self.as_of_R[rows], self.batch_size, None)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """float32 (r,): logits of some rows, nothing silenced."""
        embedding_rD = torch.from_numpy(self.embed(rows))
        self.network.eval()
        device = self.backbone.device
        chunks = zip(self.numbers_RF[rows].split(_ROWS_AT_ONCE), embedding_rD.split(_ROWS_AT_ONCE), strict=True)
        with torch.inference_mode():
            return torch.cat([self.network(n.to(device), e.to(device)) for n, e in chunks]).cpu().numpy()
