"""Another name of `devtools.browser.bench`."""

from devtools.browser.bench import Bench

__all__ = ["Bench"]
