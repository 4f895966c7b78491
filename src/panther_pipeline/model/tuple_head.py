"""The next transaction attribute by attribute: p(a_1 | h) · p(a_2 | h, a_1) · ... in the order of the fields.

The product is a distribution over all combinations of attribute ids, those never seen in training included, with
weights that grow with the sum of the attributes' sizes, not with their product. Padding (id 0) has no probability.

Shape letters: N states, D width, F token attributes, S ids of one attribute without padding, K tuples asked for,
W prefixes (combinations of the first attributes) kept by the search.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_PREFIXES = 32  # kept at first
_NUMBERS_PER_STEP = 1 << 24  # 64 MiB of float32 at once in the search


class TupleHead(nn.Module):
    """Scores of every attribute given the state and the attributes before it.

    Source: the chain rule with shared context, as in NADE (Larochelle and Murray, 2011) and MADE (arXiv 1502.03509).
    """

    def __init__(self, dim: int, attribute_sizes: list[int]) -> None:
        """Args: attribute_sizes: number of ids of each attribute, padding included."""
        super().__init__()
        self.sizes = [size - 1 for size in attribute_sizes]
        self.given = nn.ModuleList(nn.Embedding(size, dim) for size in attribute_sizes[:-1])
        # A linear layer on a sum could not tell "rent in January" from "rent" plus "January"; a hidden one can.
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU()) for _ in attribute_sizes
        )
        self.output = nn.ModuleList(nn.Linear(2 * dim, size) for size in self.sizes)
        for table in self.given:
            # Large enough to be seen beside a state of length √D. Not tuned: on the simulated ledger's validation
            # events 0.02 and 0.5 ended 0.03 nats apart, and so did two draws of 0.5.
            nn.init.normal_(table.weight, std=0.5)
        for output in self.output:
            # Small, so that training starts from the frequencies in the bias.
            nn.init.normal_(output.weight, std=0.02)

    @property
    def num_tuples(self) -> int:
        """How many tuples there are."""
        return int(np.prod(self.sizes, dtype=object))

    def logits(self, attribute: int, context: Tensor) -> Tensor:
        """Scores (..., S) of ids 1, 2, ... of one attribute, from contexts (..., D)."""
        return linear(*self.factors(attribute, context))

    def factors(self, attribute: int, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `logits` is `linear` of: (..., 2D), (S, 2D) and (S,)."""
        output = self.output[attribute]
        return self.hidden[attribute](context), output.weight, output.bias

    def contexts(self, h_ND: Tensor, attribute_ids_NF: Tensor) -> list[Tensor]:
        """For each attribute what it is predicted from, (N, D): the state and the attributes before it."""
        contexts = [h_ND]
        for f, table in enumerate(self.given):
            contexts.append(contexts[-1] + table(attribute_ids_NF[:, f]))
        return contexts

    def log_prob(self, h_ND: Tensor, attribute_ids_NF: Tensor) -> Tensor:
        """log p of a whole tuple after each state, float32 (N,), nats.

        Args:
            attribute_ids_NF: int64, 1 to S; 0 (padding) is no event's.
        """
        total_N = h_ND.new_zeros(len(h_ND), dtype=torch.float32)
        for f, context_ND in enumerate(self.contexts(h_ND, attribute_ids_NF)):
            log_prob_NS = self.logits(f, context_ND).float().log_softmax(-1)
            total_N = total_N + log_prob_NS.gather(1, attribute_ids_NF[:, f, None] - 1)[:, 0]
        return total_N

    def expected_probs(self, h_ND: Tensor) -> list[Tensor]:
        """For each attribute float32 (N, S + 1): how likely each id is; column 0 (padding) is 0.

        The first attribute's are exact. For the others the attributes before are replaced by their expectation: exact
        marginals would take all combinations, and those of the likeliest tuples alone would jump where two tie.
        """
        probs_f, context_ND = [], h_ND
        for f in range(len(self.sizes)):
            prob_NS = self.logits(f, context_ND).float().softmax(-1)
            probs_f.append(nn.functional.pad(prob_NS, (1, 0)))
            if f < len(self.given):
                context_ND = context_ND + prob_NS @ self.given[f].weight[1:]
        return probs_f

    @torch.no_grad()
    def likeliest(self, h_ND: Tensor, num: int, num_prefixes: int = _PREFIXES) -> tuple[Tensor, Tensor]:
        """The `num` likeliest tuples after each state, exactly, likeliest first.

        A beam search that proves its answer: no tuple is likelier than a prefix of it, so if the last tuple found is
        at least as likely as the best prefix that was dropped, nothing was missed. Where that fails, the search is
        repeated with four times the prefixes. As fewer than 1/p prefixes are likelier than p, it ends early.

        Args:
            num: K, cut to `num_tuples`.
            num_prefixes: W at first; it decides the time taken, not the result.

        Returns:
            int64 (N, K, F) attribute ids and float32 (N, K) log p.
        """
        num = min(num, self.num_tuples)
        num_prefixes = max(num_prefixes, num)
        rows = max(1, _NUMBERS_PER_STEP // (num_prefixes * (2 * h_ND.shape[1] + max(self.sizes))))
        parts = [self._search(h_nD, num, num_prefixes) for h_nD in h_ND.split(rows)]
        ids_NKF, log_prob_NK, dropped_N = (torch.cat(column) for column in zip(*parts, strict=True))
        unsure_N = dropped_N > log_prob_NK[:, -1]
        if bool(unsure_N.any()):
            ids_NKF[unsure_N], log_prob_NK[unsure_N] = self.likeliest(h_ND[unsure_N], num, 4 * num_prefixes)
        return ids_NKF, log_prob_NK

    def _search(self, h_ND: Tensor, num: int, num_prefixes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tuples, their log p, and the log p of the likeliest prefix that was dropped on the way."""
        context_NWD = h_ND[:, None]
        ids_NWF = torch.empty(len(h_ND), 1, 0, dtype=torch.int64, device=h_ND.device)
        log_prob_NW = h_ND.new_zeros(len(h_ND), 1, dtype=torch.float32)
        dropped_N = torch.full_like(log_prob_NW[:, 0], -torch.inf)
        for f, size in enumerate(self.sizes):
            is_last = f == len(self.sizes) - 1
            scores_NX = (log_prob_NW[..., None] + self.logits(f, context_NWD).float().log_softmax(-1)).flatten(1)
            keep = min(num if is_last else num_prefixes, scores_NX.shape[1])
            if not is_last and keep < scores_NX.shape[1]:
                best_NX = scores_NX.topk(keep + 1)
                dropped_N = torch.maximum(dropped_N, best_NX.values[:, -1])
            else:
                best_NX = scores_NX.topk(keep)
            log_prob_NW, index_NW = best_NX.values[:, :keep], best_NX.indices[:, :keep]
            parent_NW, id_NW = index_NW // size, index_NW % size + 1
            ids_NWF = torch.cat([_pick(ids_NWF, parent_NW), id_NW[..., None]], dim=-1)
            if not is_last:
                context_NWD = _pick(context_NWD, parent_NW) + self.given[f](id_NW)
        return ids_NWF, log_prob_NW, dropped_N

    @torch.no_grad()
    def start_from_frequencies(self, counts_f: list[np.ndarray]) -> None:
        """Let the untrained head predict each attribute's frequencies, whatever the state.

        Args:
            counts_f: for each attribute int64 (S + 1,): how often each id was a training target.
        """
        for output, counts in zip(self.output, counts_f, strict=True):
            frequency_S = (torch.from_numpy(counts[1:]).double() + 0.5) / (counts[1:].sum() + 0.5 * len(counts[1:]))
            output.bias.copy_(frequency_S.log())


def _pick(values_NWX: Tensor, index_NV: Tensor) -> Tensor:
    """Rows `index` of each state's W: (N, V, X)."""
    return values_NWX.gather(1, index_NV[..., None].expand(-1, -1, values_NWX.shape[-1]))
