"""What a fit leaves over: a spectrum beside its fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.deconvolve import make_deconvolver
from nightwell.wells.instrument import Instrument
from nightwell.wells.residuals import fit_at
from nightwell.wells.species import SpeciesLibrary

MakeCube = Callable[..., xr.Dataset]


def test_a_spectrum_and_its_fit_agree_and_the_parts_sum_to_it(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    ppm = np.zeros((6, len(library.names)))
    ppm[:, library.index("methane")] = 5_000.0
    ppm[:, library.index("benzene")] = 20.0
    cube = make_cube(library, ppm)
    found = fit_at(cube, make_deconvolver(cube, instrument, library), 1001.1)
    assert found.depth_m == 1001.0
    assert np.allclose(found.parts.sum(axis=0), found.fitted, rtol=1e-12, atol=1e-20)
    assert np.allclose(found.residual, found.measured - found.fitted)
    assert np.abs(found.standardised).max() < 5.0
    assert found.chi2 == pytest.approx(float(np.nansum(found.standardised**2)))
    assert found.species[int(found.parts.sum(axis=1).argmax())] == "methane"


def test_a_depth_outside_the_stream_is_refused(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, np.ones((6, len(library.names))))
    with pytest.raises(InputError, match="1000 to 1002"):
        fit_at(cube, make_deconvolver(cube, instrument, library), 3300.0)
