"""Which attribute of an event tells least about the user's next event: the one a rare tuple drops first.

Shape letters: N events, M consecutive pairs of events, F token attributes.
"""

import numpy as np


def measure_information(attribute_ids_NF: np.ndarray, follows_N: np.ndarray) -> np.ndarray:
    """What each attribute tells about the next event, in nats.

    For attribute f: the sum over all attributes g of the mutual information between f now and g at the
    user's next event. A token must predict the next token, so the attribute with the lowest sum is the
    cheapest to drop. Entropy alone would keep an attribute that varies much and foretells nothing (a random
    terminal number).

    Args:
        attribute_ids_NF: attribute ids of training events, ordered by user and time.
        follows_N: whether row n is the next event of row n-1's user.

    Returns:
        float64 (F,), at least 0, rounded to a millionth so that machines agree on the order.
    """
    second = np.flatnonzero(follows_N)
    now_MF, next_MF = attribute_ids_NF[second - 1], attribute_ids_NF[second]
    num_attributes = attribute_ids_NF.shape[1]
    nats_F = np.zeros(num_attributes)
    for f in range(num_attributes):
        nats_F[f] = sum(mutual_information(now_MF[:, f], next_MF[:, g]) for g in range(num_attributes))
    return np.round(nats_F, 6)


def mutual_information(a_M: np.ndarray, b_M: np.ndarray) -> float:
    """Mutual information of two columns of ids in nats, at least 0, corrected for its upward bias.

    Source: Miller (1955), "Note on the bias of information estimates": the plug-in estimate is too high by
    about (cells - rows - columns + 1) / 2M, where only occupied cells count.
    """
    num_pairs = len(a_M)
    if num_pairs == 0:
        return 0.0
    joint, joint_counts = np.unique(a_M.astype(np.int64) << 32 | b_M.astype(np.int64), return_counts=True)
    a, a_ix, a_counts = _totals(joint >> 32, joint_counts)
    b, b_ix, b_counts = _totals(joint & 0xFFFFFFFF, joint_counts)
    expected = a_counts[a_ix] * (b_counts[b_ix] / num_pairs)
    nats = float((joint_counts / num_pairs * np.log(joint_counts / expected)).sum())
    bias = (len(joint) - len(a) - len(b) + 1) / (2 * num_pairs)
    return max(0.0, nats - bias)


def _totals(ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, index = np.unique(ids, return_inverse=True)
    totals = np.zeros(len(values), dtype=np.int64)
    np.add.at(totals, index, counts)
    return values, index, totals
