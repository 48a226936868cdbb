"""Zernike polynomials: Noll's order, orthonormality, two independent implementations, surfaces, and the fit back."""

from fractions import Fraction
from math import factorial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optics.zernike import fit_zernike, nm_to_noll, noll_to_nm, zernike, zernike_basis, zernike_surface

TERMS = 400


def test_the_first_terms_are_those_of_nolls_table():
    # Table I of Noll 1976; m negative: sine.
    table = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0)]
    assert [noll_to_nm(term) for term in range(1, 12)] == table
    radius, angle = np.linspace(0, 1, 11), 0.3
    expected = {
        4: np.sqrt(3) * (2 * radius**2 - 1),
        5: np.sqrt(6) * radius**2 * np.sin(2 * angle),
        7: np.sqrt(8) * (3 * radius**3 - 2 * radius) * np.sin(angle),
        11: np.sqrt(5) * (6 * radius**4 - 6 * radius**2 + 1),
    }
    for term, values in expected.items():
        np.testing.assert_allclose(zernike(term, radius, angle), values, atol=1e-14)


@given(st.integers(1, 10**6))
def test_orders_and_terms_are_one_to_one(term):
    assert nm_to_noll(*noll_to_nm(term)) == term


@pytest.mark.parametrize("wrong", [0, -3, 1.0, True, "4"])
def test_a_term_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="whole number"):
        noll_to_nm(wrong)
    with pytest.raises(ValueError, match="no Zernike term"):
        nm_to_noll(2, 1)


def test_400_terms_are_orthonormal_on_the_disc():
    # n <= 27: products are polynomials of degree 54 in r (times r dr) and of |m| <= 54 around, for which 30 Gauss nodes
    # and 64 angles are exact. What remains is rounding.
    nodes, weights = np.polynomial.legendre.leggauss(30)
    radius, share = (nodes + 1) / 2, weights / 2 * (nodes + 1) / 2
    angle = 2 * np.pi * np.arange(64) / 64
    values = np.array([zernike(term, radius[:, np.newaxis], angle) for term in range(1, TERMS + 1)])
    gram = np.einsum("jra,kra,r->jk", values, values, share, optimize=True) * (2 * np.pi / 64) / np.pi
    np.testing.assert_allclose(gram, np.eye(TERMS), atol=1e-12)


def square_grid(side):
    """Coordinates with the rim through the centres of the outermost samples, as poppy lays its grid."""
    line = (np.arange(side) - (side - 1) / 2) / ((side - 1) / 2)
    return np.hypot(line[:, np.newaxis], line), np.arctan2(line[:, np.newaxis], line)


def test_400_terms_agree_with_prysm():
    polynomials = pytest.importorskip("prysm.polynomials", reason="needs prysm: pip install -e '.[dev]'")
    radius, angle = square_grid(48)
    ours = zernike_basis(TERMS, 48, 48, disc_cells=47)
    for term in range(1, TERMS + 1):
        assert tuple(polynomials.noll_to_nm(term)) == noll_to_nm(term)
        theirs = polynomials.zernike_nm(*noll_to_nm(term), radius, angle, norm=True) * (radius <= 1)
        np.testing.assert_allclose(ours[term - 1], theirs, atol=1e-9)  # measured: 8e-14


def test_terms_agree_with_poppy_as_it_is():
    # poppy adds up powers of r with factorials as weights, which loses digits with the order: at n = 18 its error is
    # 4e-10, at n = 27 7e-7. Up to n = 18 (190 terms) it is compared as it is.
    poppy = pytest.importorskip("poppy", reason="needs poppy: pip install -e '.[dev]'")
    ours = zernike_basis(190, 48, 48, disc_cells=47)
    np.testing.assert_allclose(ours, poppy.zernike.zernike_basis(nterms=190, npix=48, outside=0.0), atol=1e-9)


def test_400_terms_agree_with_poppy_in_exact_arithmetic(monkeypatch):
    # poppy's own code with fractions in place of floats, so that its sums of powers lose nothing.
    poppy = pytest.importorskip("poppy", reason="needs poppy: pip install -e '.[dev]'")
    radius, angle = np.arange(25) / 24, 2 * np.pi * np.arange(12) / 12 + 0.1
    exact = np.array([Fraction(step, 24) for step in range(25)], dtype=object)
    radial = poppy.zernike.R
    zeros = SimpleNamespace(zeros=lambda shape: np.full(shape, Fraction(0), dtype=object))

    def exact_radial(order, azimuthal, _rho):
        with monkeypatch.context() as patch:
            patch.setattr(poppy.zernike, "xp", zeros)
            patch.setattr(poppy.zernike, "factorial", lambda number: Fraction(factorial(number)))
            return radial(order, azimuthal, exact).astype(np.float64)[:, np.newaxis]

    monkeypatch.setattr(poppy.zernike, "R", exact_radial)
    away, around = (np.ascontiguousarray(each) for each in np.broadcast_arrays(radius[:, np.newaxis], angle))
    for term in range(1, TERMS + 1):
        assert poppy.zernike.noll_indices(term) == noll_to_nm(term)
        theirs = poppy.zernike.zernike1(term, rho=away, theta=around, outside=0.0)
        np.testing.assert_allclose(zernike(term, away, around), theirs, atol=1e-9)


def test_the_disc_touches_the_outer_edges_and_is_zero_outside():
    basis = zernike_basis(6, 10, 14)
    radius = np.hypot(np.arange(10)[:, np.newaxis] - 4.5, np.arange(14) - 6.5) / 5
    np.testing.assert_array_equal(basis[0], radius <= 1)
    assert (basis[:, radius > 1] == 0).all()
    # Tilt has no unit but the disc's: 2 x, with x = 1 at the edge of the outermost cell.
    np.testing.assert_allclose(basis[1, 5, 2:12], 2 * (np.arange(2, 12) - 6.5) / 5, atol=1e-15)
    np.testing.assert_allclose(basis[2, :, 7], 2 * (np.arange(10) - 4.5) / 5, atol=1e-15)


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_surface_is_the_sum_of_its_terms(terms, rows, columns, seed):
    coefficients = np.random.default_rng(seed).normal(size=terms)
    try:
        surface = zernike_surface(coefficients, rows, columns)
    except ValueError:
        assert min(rows, columns) < np.hypot((rows - 1) % 2, (columns - 1) % 2)  # no centre in the disc
        return
    basis = zernike_basis(terms, rows, columns)
    np.testing.assert_allclose(surface, np.tensordot(coefficients, basis, 1), atol=1e-11)


@pytest.mark.parametrize(
    ("rows", "columns", "disc_cells"), [(64, 64, None), (61, 90, None), (64, 64, 63), (80, 80, 60.5)]
)
def test_fitting_gives_back_the_coefficients(rows, columns, disc_cells):
    coefficients = np.random.default_rng(1).normal(size=100)
    surface = zernike_surface(coefficients, rows, columns, disc_cells)
    surface[surface == 0] = 7.0  # what lies outside is ignored
    np.testing.assert_allclose(fit_zernike(surface, 100, disc_cells), coefficients, atol=1e-10)


def test_a_fit_of_more_terms_than_cells_is_refused():
    with pytest.raises(ValueError, match="fit fewer terms"):
        fit_zernike(np.ones((6, 6)), 100)
    with pytest.raises(ValueError, match="finite"):
        fit_zernike(np.full((6, 6), np.nan), 3)
    with pytest.raises(ValueError, match="finite numbers"):
        zernike_surface([1.0, np.inf], 6, 6)
    with pytest.raises(ValueError, match="make it larger"):
        zernike_surface([1.0], 6, 6, disc_cells=0.5)
