"""Files that another program holds open, as virus scanners do on Windows."""

from collections.abc import Callable
from typing import Any


def blocked_twice(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, which raises PermissionError at its first two calls."""
    calls = []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) < 3:
            raise PermissionError("in use")
        return method(*args, **kwargs)

    return call
