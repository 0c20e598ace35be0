"""How long to purge: what the sample before leaves behind in the line decays as a sum of exponentials.

After ``t`` seconds of purging the share ``mu(t) = sum_k a_k exp(-t / tau_k)`` of the previous signal is still there.
The shortest purge keeps that remainder below a tolerated share of the new signal::

    mu(t) C_prev <= tol C_now

With one term of share 1 it is ``t = tau ln(C_prev / (tol C_now))``; with several there is no closed form, but ``mu``
falls strictly, so the root is bracketed by the slowest term alone and found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_HALVINGS = 80  # the bracket is then shorter than a double can tell


@dataclass(frozen=True, slots=True)
class Decay:
    """One exponential of the carry-over.

    Parameters
    ----------
    share
        a: share of the previous signal at the moment of switching, above 0.
    tau_s
        Time constant [s], above 0.
    """

    share: float
    tau_s: float


def carry_over(purge_s: float, decays: Sequence[Decay]) -> float:
    """Return the share ``mu`` of the previous signal that is left after a purge.

    Parameters
    ----------
    purge_s
        Time since the valve switched [s].
    decays
        Terms of the sum; none means that nothing is carried over.

    Examples
    --------
    >>> round(carry_over(10.0, [Decay(1.0, 10.0)]), 6)
    0.367879
    """
    return sum(one.share * math.exp(-purge_s / one.tau_s) for one in decays)


def minimum_purge_s(contrast: float, tolerance: float, decays: Sequence[Decay]) -> float:
    """Return the shortest purge after which the remainder is within the tolerance [s].

    Parameters
    ----------
    contrast
        ``C_prev / C_now``: signal before over signal now, above 0.
    tolerance
        ``tol``: tolerated share of the new signal, above 0.
    decays
        Terms of the carry-over.

    Raises
    ------
    ValueError
        Contrast or tolerance is not above zero.

    Examples
    --------
    >>> round(minimum_purge_s(100.0, 0.01, [Decay(1.0, 5.0)]), 3)  # 5 ln(100 / 0.01)
    46.052
    """
    if not (contrast > 0.0 and tolerance > 0.0):
        raise ValueError(f"contrast and tolerance must be above zero, not {contrast} and {tolerance}")
    allowed = tolerance / contrast
    if not decays or carry_over(0.0, decays) <= allowed:
        return 0.0
    # Were all of it to decay as slowly as the slowest term, it would take this long: never less than it does.
    total, slowest_s = sum(one.share for one in decays), max(one.tau_s for one in decays)
    low_s, high_s = 0.0, slowest_s * math.log(total / allowed)
    for _ in range(_HALVINGS):
        middle_s = 0.5 * (low_s + high_s)
        if carry_over(middle_s, decays) > allowed:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s
