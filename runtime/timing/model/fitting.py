"""Measurements to beliefs: least squares, with what sources say as measurements of parameters.

A parameter with a source is held by it, as firmly as its range is narrow; one without is free. What
of the free ones no measurement tells apart is said by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.timing.model.beliefs import Z95, Beliefs, Vector, value_and_slope
from relokit.runtime.timing.model.hardware import (
    CONSTANTS,
    Hardware,
    Parameter,
    ParameterKey,
    ParameterName,
)
from relokit.runtime.timing.model.time_terms import Term

SMALLEST = 1e-9
"""Of a singular value, against the largest: what the measurements do not tell."""
START = 10.0
"""Where a free parameter is looked for first; the result does not depend on it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """``seconds`` that ``terms`` took; ``sd`` is that of its logarithm."""

    name: str
    terms: tuple[Term, ...]
    seconds: float
    sd: float


@dataclass(frozen=True, eq=False)
class Fit:
    """``beliefs``, and of each measurement how far the fit is from it (logarithm).

    ``free`` had no source.
    """

    beliefs: Beliefs
    free: tuple[ParameterKey, ...]
    residuals: tuple[tuple[str, float], ...]


def fit(machines: Iterable[Hardware], measurements: Sequence[Measurement]) -> Fit:
    """What is known of ``machines`` by their sources and ``measurements``."""
    parameters = _parameters(machines)
    unknowns = tuple(parameters)
    place = {one: number for number, one in enumerate(unknowns)}
    priors = [_prior(one) for one in parameters.values()]
    start = np.array([prior[0] if prior else math.log(START) for prior in priors])
    told = [
        (number, prior[0], prior[1]) for number, prior in enumerate(priors) if prior is not None
    ]

    def parts(point: Vector) -> tuple[Vector, Vector]:
        residuals, slopes = [], []
        for one in measurements:
            nanoseconds, slope = value_and_slope(one.terms, place, point)
            residuals.append((math.log(nanoseconds * 1e-9) - math.log(one.seconds)) / one.sd)
            slopes.append(slope / one.sd)
        for number, mean, sd in told:
            row = np.zeros(len(point))
            row[number] = 1 / sd
            residuals.append((point[number] - mean) / sd)
            slopes.append(row)
        return np.array(residuals), np.array(slopes).reshape(len(residuals), len(point))

    point = _solved(parts, start) if measurements else start
    residuals, slopes = parts(point)
    covariance, lost = _covariance(slopes)
    # A parameter that ends near nothing has no part in any time there, and another one would seem
    # to be known by what both of them have made: so it is asked where all have a part, too.
    _, lost_at_start = _covariance(parts(start)[1])
    undetermined = frozenset(
        one for one, *is_lost in zip(unknowns, lost, lost_at_start, strict=True) if any(is_lost)
    )
    return Fit(
        Beliefs(unknowns, point, covariance, undetermined),
        tuple(one for one, prior in zip(unknowns, priors, strict=True) if prior is None),
        tuple(
            (one.name, float(residual * one.sd))
            for one, residual in zip(measurements, residuals, strict=False)
        ),
    )


def _parameters(machines: Iterable[Hardware]) -> dict[ParameterKey, Parameter]:
    return {
        machine.unknown(name): machine.parameter(name)
        for machine in machines
        for name in ParameterName
        if name not in CONSTANTS and machine.has(name)
    }


def _prior(parameter: Parameter) -> tuple[float, float] | None:
    """Mean and standard deviation of the logarithm, as the source has it."""
    if parameter.value is None:
        return None
    low, high = parameter.low or parameter.value, parameter.high or parameter.value
    return math.log(parameter.value), max(math.log(high / low) / (2 * Z95), 1e-6)


def _solved(parts, start: Vector) -> Vector:  # type: ignore[no-untyped-def]
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise RelokitError("fitting needs scipy", hint="pip install 'relokit[time]'") from None
    found = least_squares(
        lambda point: parts(point)[0],
        start,
        jac=lambda point: parts(point)[1],
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        x_scale=1.0,
    )
    solution: Vector = found.x
    return solution


def _covariance(slopes: Vector) -> tuple[Vector, list[bool]]:
    """That of the parameters, and which of them lie in a direction that nothing tells."""
    _, values, directions = np.linalg.svd(slopes, full_matrices=True)
    whole = np.zeros(slopes.shape[1])
    whole[: len(values)] = values
    told = whole > SMALLEST * whole.max(initial=0.0)
    known = directions[told]
    covariance = known.T @ np.diag(1 / whole[told] ** 2) @ known
    lost = (np.abs(directions[~told]) > 1e-6).any(axis=0)
    return covariance, lost.tolist()
