"""Which attribute of an event tells least about the user's next event: the one a rare tuple drops first.

Shape letters: N events, M consecutive pairs of events, F token attributes.
"""

import numpy as np

_SEED = 0  # of the one shuffle; a constant, so that the same events give the same order of attributes
_MAX_CELLS = 1 << 22  # a table of counts this large is faster than sorting, and still small


def measure_information(attribute_ids_NF: np.ndarray, follows_N: np.ndarray) -> np.ndarray:
    """What each attribute tells about the next event, in nats.

    For attribute f: the sum over all attributes g of the mutual information between f now and g at the user's
    next event. A token must predict the next token, so the attribute with the lowest sum is the cheapest to
    drop. Entropy alone would keep an attribute that varies much and foretells nothing (a terminal number).

    Args:
        attribute_ids_NF: attribute ids of training events, ordered by user and time.
        follows_N: whether row n is the next event of row n-1's user.

    Returns:
        float64 (F,), at least 0, rounded to a millionth so that machines agree on the order.
    """
    second = np.flatnonzero(follows_N)
    now_MF, next_MF = attribute_ids_NF[second - 1], attribute_ids_NF[second]
    shuffled_MF = next_MF[np.random.default_rng(_SEED).permutation(len(second))]
    num_attributes = attribute_ids_NF.shape[1]
    nats_F = np.zeros(num_attributes)
    for f in range(num_attributes):
        pairs = [(now_MF[:, f], next_MF[:, g], shuffled_MF[:, g]) for g in range(num_attributes)]
        nats_F[f] = sum(mutual_information(*pair) for pair in pairs)
    return np.round(nats_F, 6)


def mutual_information(a_M: np.ndarray, b_M: np.ndarray, shuffled_b_M: np.ndarray) -> float:
    """Mutual information of two columns of ids in nats, less what chance alone would show, at least 0.

    The plug-in estimate grows with the number of values: two columns of 500 random values and 4,000 rows
    share 3.7 nats. The same estimate on shuffled pairs is that chance level; the entropies of the columns
    themselves are the same in both and cancel, which leaves the difference of the two joint entropies.

    Source: Vinh, Epps, Bailey (2010), adjustment of mutual information for chance; here by one shuffle.
    """
    return max(0.0, _joint_entropy(a_M, shuffled_b_M) - _joint_entropy(a_M, b_M))


def _joint_entropy(a_M: np.ndarray, b_M: np.ndarray) -> float:
    if not len(a_M):
        return 0.0
    width = int(b_M.max()) + 1
    cells_M = a_M.astype(np.int64) * width + b_M
    if (int(a_M.max()) + 1) * width <= _MAX_CELLS:
        counts = np.bincount(cells_M)
        counts = counts[counts > 0]
    else:
        counts = np.unique(cells_M, return_counts=True)[1]
    probs = counts / len(a_M)
    return float(-(probs * np.log(probs)).sum())
