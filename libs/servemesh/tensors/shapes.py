"""Shapes as they come over the wire: checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from servemesh.errors import InvalidError

RANK_MAX = 32
# More than any message can carry, and far below where a product would overflow in numpy.
ELEMENTS_MAX = 1 << 40


def elements_of(shape: Sequence[int], field: str) -> int:
    """Return the number of elements; InvalidError for a negative dimension or an absurd shape."""
    if len(shape) > RANK_MAX:
        raise InvalidError(
            f"{field} has {len(shape)} dimensions, expected at most {RANK_MAX}",
            reason="SHAPE_INVALID",
            field=field,
            expected=RANK_MAX,
            got=len(shape),
        )
    if shape and min(shape) < 0:
        raise InvalidError(
            f"{field} is {list(shape)}, expected dimensions of 0 or more",
            reason="SHAPE_INVALID",
            field=field,
            expected="dimensions of 0 or more",
            got=list(shape),
        )
    elements = math.prod(shape)
    # Dimensions may be huge beside one of 0, and numpy refuses such a shape.
    if elements > ELEMENTS_MAX or (not elements and math.prod(filter(None, shape)) > ELEMENTS_MAX):
        raise InvalidError(
            f"{field} is {list(shape)}: more than {ELEMENTS_MAX} elements",
            reason="SHAPE_INVALID",
            field=field,
            expected=ELEMENTS_MAX,
            got=list(shape),
        )
    return elements
