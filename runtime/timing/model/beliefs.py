"""Beliefs: what is known of parameters, as logarithms with a covariance; and what follows of times.

Times are products of positive numbers, known within factors: so a parameter's logarithm is taken to
be normal, 95 % of it from the low to the high value that its source gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.timing.model.hardware import ParameterKey
from relokit.runtime.timing.model.time_terms import Term

Z95 = 1.959963984540054
"""95 % of a normal variable is within so many standard deviations."""
TOGETHER = 0.3
"""A correlation that is told."""
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value``, and from ``low`` to ``high`` with 95 %; ``sd`` is that of its logarithm."""

    value: float
    low: float
    high: float
    sd: float

    @classmethod
    def of(cls, value: float, sd: float) -> Estimate:
        """A ``value`` whose logarithm has this standard deviation."""
        factor = math.exp(Z95 * sd)
        return cls(value, value / factor, value * factor, sd)


@dataclass(frozen=True, eq=False)
class Beliefs:
    """``means`` and ``covariance`` of the logarithms of ``unknowns``, in that order.

    What is in ``undetermined`` is not known at all: neither a source nor a measurement says it.
    """

    unknowns: tuple[ParameterKey, ...]
    means: Vector
    covariance: Vector
    undetermined: frozenset[ParameterKey] = frozenset()

    @property
    def place(self) -> Mapping[ParameterKey, int]:
        """Where each is."""
        return {one: number for number, one in enumerate(self.unknowns)}

    def parameter(self, unknown: ParameterKey) -> Estimate | None:
        """What is known of one; None if nothing is."""
        if unknown in self.undetermined:
            return None
        at = self.place[unknown]
        sd = math.sqrt(max(0.0, float(self.covariance[at, at])))
        return Estimate.of(math.exp(float(self.means[at])), sd)

    def correlations(self) -> Iterator[tuple[ParameterKey, ParameterKey, float]]:
        """Pairs that are known together better than each by itself, of what is known."""
        sds = np.sqrt(np.maximum(np.diag(self.covariance), 1e-300))
        matrix = self.covariance / np.outer(sds, sds)
        for at, other in zip(*np.nonzero(np.triu(np.abs(matrix) > TOGETHER, 1)), strict=True):
            pair = self.unknowns[at], self.unknowns[other]
            if not self.undetermined.intersection(pair):
                yield *pair, float(matrix[at, other])

    def time(self, terms: Sequence[Term]) -> Estimate | None:
        """What ``terms`` take, in seconds; None where a parameter is undetermined."""
        if any(one in self.undetermined for term in terms for one in term.of):
            return None
        nanoseconds, slope = value_and_slope(terms, self.place, self.means)
        variance = float(slope @ self.covariance @ slope)
        return Estimate.of(nanoseconds * 1e-9, math.sqrt(max(0.0, variance)))


def value_and_slope(
    terms: Sequence[Term], place: Mapping[ParameterKey, int], logarithms: Vector
) -> tuple[float, Vector]:
    """The sum of ``terms``, and the derivatives of its logarithm."""
    total, slope = 0.0, np.zeros(len(logarithms))
    for term in terms:
        value = term.number * math.exp(sum(logarithms[place[one]] for one in term.of))
        total += value
        for one in term.of:
            slope[place[one]] += value
    return total, slope / total if total else slope
