"""A point in time is proved by a sequence of writes, and anything else is found out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightwell.errors import IntegrityError
from nightwell.local.live_host import RECORD_BYTES, RecordedRegion, record

REGION = RecordedRegion(0, 16 * RECORD_BYTES)


@given(st.integers(0, 50))
def test_any_moment_is_a_point_in_time(writes: int) -> None:
    assert REGION.check_point_in_time(REGION.after(writes)) == writes


@given(st.integers(1, 50), st.integers(0, 15))
def test_one_record_of_another_moment_is_found(writes: int, back: int) -> None:
    found = REGION.after(writes)
    number = writes - back
    if number < 1 or back == 0:
        number = writes + 2  # newer than it may be: what stood there before writes + 1 is missing
    else:
        number -= REGION.places  # older than it may be
    place = REGION.place(number)
    content = record(number) if number > 0 else REGION.initial().reshape(-1, RECORD_BYTES)[place].tobytes()
    found.reshape(-1, RECORD_BYTES)[place] = np.frombuffer(content, dtype=np.uint8)
    with pytest.raises(IntegrityError, match="another moment"):
        REGION.check_point_in_time(found)


def test_one_wrong_byte_is_found() -> None:
    found = REGION.after(20)
    found[5 * RECORD_BYTES + 100] ^= 1
    with pytest.raises(IntegrityError):
        REGION.check_point_in_time(found)
