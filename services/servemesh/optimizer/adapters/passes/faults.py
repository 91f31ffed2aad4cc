"""What is told of a library that fails inside a pass: which node it named, and no text of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from servemesh.errors import InvalidError, ServemeshError


@contextmanager
def translating(pass_id: str, library: str, node_names: Iterable[str]) -> Iterator[None]:
    """Turn an error of `library` into an InvalidError with reason PASS_FAILED that names the node, if it did."""
    try:
        yield
    except (ServemeshError, MemoryError, OSError):
        raise
    except Exception as error:
        text = str(error)
        node = max((name for name in node_names if name and name in text), key=len, default="")
        where = f" at node {node!r}" if node else ""
        advice = f"exclude that node (nodes_excluded: [{node}])" if node else "run simplify first"
        raise InvalidError(
            f"pass {pass_id}: {library} cannot do it{where}; {advice}, or choose another pass",
            reason="PASS_FAILED",
            field=node or pass_id,
            node=node,
            **{"pass": pass_id},
        ) from error
