"""The Grayscale Standard Display Function of PS3.14: how bright a display of greys has to be, step by step.

One step of the Just-Noticeable Difference index is the least change of luminance that the average observer sees, so
equal steps of the index look equal on every display that follows the function, however bright it is.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isocenter.errors import UsageError

FIRST_JND, LAST_JND = 1.0, 1023.0
# cd/m2, PS3.14 Table B-1: the luminances of the first and the last index.
LEAST_LUMINANCE, GREATEST_LUMINANCE = 0.05, 3993.404

# PS3.14 section 7.1: the coefficients a, c, e, g, m of the numerator and 1, b, d, f, h, k of the denominator.
_NUMERATOR = (-1.3011877, 8.0242636e-2, 1.3646699e-1, -2.5468404e-2, 1.3635334e-3)
_DENOMINATOR = (1.0, -2.5840191e-2, -1.0320229e-1, 2.8745620e-2, -3.1978977e-3, 1.2992634e-4)
_STEPS = 200  # nodes an index for the inverse: its error is below 1e-6 of an index then


def luminance(jnd: ArrayLike) -> NDArray[np.float64]:
    """Luminance in cd/m2 of JND indices, which need not be whole; same shape. PS3.14 section 7.1.

    Raises UsageError for an index outside 1 to 1023.
    """
    indices = np.asarray(jnd, np.float64)
    if not bool(np.all((indices >= FIRST_JND) & (indices <= LAST_JND))):
        raise UsageError("a JND index is between 1 and 1023")
    return _luminance(indices)


def _luminance(indices: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithm = np.log(indices)
    above = np.polynomial.polynomial.polyval(logarithm, _NUMERATOR)
    below = np.polynomial.polynomial.polyval(logarithm, _DENOMINATOR)
    result: NDArray[np.float64] = 10.0 ** (above / below)
    return result


def jnd_index(cd_per_m2: ArrayLike) -> NDArray[np.float64]:
    """JND indices of luminances in cd/m2; the inverse of `luminance`, same shape.

    PS3.14 gives a polynomial for this, which differs by up to half an index; here the function itself is inverted.
    Raises UsageError for a luminance outside the function's range, 0.05 to 3,993.4 cd/m2.
    """
    values = np.asarray(cd_per_m2, np.float64)
    nodes, logarithms = _inverse()
    low, high = 10.0 ** logarithms[0], 10.0 ** logarithms[-1]
    if not bool(np.all((values >= low * (1 - 1e-3)) & (values <= high * (1 + 1e-3)))):
        raise UsageError("the function is defined for luminances of 0.05 to 3,993.4 cd/m2 (PS3.14 section 7.1)")
    return np.interp(np.log10(values), logarithms, nodes)


@lru_cache(maxsize=1)
def _inverse() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes = np.linspace(FIRST_JND, LAST_JND, int(LAST_JND - FIRST_JND) * _STEPS + 1)
    return nodes, np.log10(_luminance(nodes))
