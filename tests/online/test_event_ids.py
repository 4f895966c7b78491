"""Ids are found among bytes as they are among texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panther_pipeline.online.event_ids import EventIds

IDS = st.lists(st.text(alphabet="ab1é", min_size=1, max_size=3), unique=True, max_size=8)


@given(IDS, st.text(alphabet="ab1é", min_size=1, max_size=3))
def test_id_is_found_where_it_stands(ids, wanted):
    """Also where the bytes of one id are part of another's, or of two neighbours'."""
    assert EventIds.of(ids).find(wanted) == (ids.index(wanted) if wanted in ids else None)


@given(IDS, st.integers(0, 8), st.integers(0, 8))
def test_ids_change_as_lists_do(ids, place, num):
    place, num = min(place, len(ids)), min(num, len(ids))
    held = EventIds.of(ids)
    assert list(held.insert(place, "new")) == [*ids[:place], "new", *ids[place:]]
    assert list(held.drop(num)) == ids[num:]
    assert list(held) == ids
    assert len(held) == len(ids)
    assert held == EventIds(held.packed, held.lengths_R)


@pytest.mark.parametrize("lengths", [[1, 1], [4], [-1, 4]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="bytes"):
        EventIds(b"abc", np.array(lengths))
