"""Campaigns: long attacks on the real app, each of which ends in figures and in violations, or none.

`python -m playground soak NAME` runs one. Each is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from playground.flags import Typed


def _visitors(typed: Typed) -> int:
    from playground.soak.visitors import campaign

    return campaign(typed)


def _fuzz(typed: Typed) -> int:
    from playground.soak.fuzz import campaign

    return campaign(typed)


CAMPAIGNS: dict[str, Callable[[Typed], int]] = {"visitors": _visitors, "fuzz": _fuzz}
