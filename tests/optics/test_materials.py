"""Materials: published indices and Abbe numbers, temperature, user-given tables, and the way through JSON."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from optics.materials import MATERIALS, Material, abbe_number, find_material, refractive_index, table_material

D_LINE_M = 587.5618e-9


# n_d and Vd as makers and handbooks publish them. Glass to the last digit that is published; plastics as they differ
# from maker to maker, and Vd as far as a one-term formula can follow (it disperses too much: 9 % for Zeonex).
@pytest.mark.parametrize(
    ("name", "index", "index_tolerance", "abbe", "abbe_tolerance"),
    [
        ("fused_silica", 1.45846, 1e-5, 67.82, 0.01),
        ("n_bk7", 1.51680, 1e-6, 64.17, 0.01),
        ("pmma", 1.4917, 1e-3, 57.4, 2),
        ("polycarbonate", 1.585, 1e-3, 29.9, 2.1),
        ("polystyrene", 1.590, 2e-3, 30.9, 1.4),
        ("zeonex_e48r", 1.531, 1e-3, 56, 4.3),
        ("su_8", 1.575, 2e-3, None, None),
        ("ip_dip", 1.548, 1e-3, 35, 0.1),
    ],
)
def test_published_index_and_abbe_number(name, index, index_tolerance, abbe, abbe_tolerance):
    material = find_material(name)
    assert refractive_index(material, D_LINE_M) == pytest.approx(index, abs=index_tolerance)
    if abbe is not None:
        assert abbe_number(material) == pytest.approx(abbe, abs=abbe_tolerance)


def test_pmma_agrees_with_another_measurement():
    # A. Szczurowski's three-term Sellmeier fit (refractiveindex.info): another maker's PMMA.
    other = Material("x", "sellmeier", (0.99654, 0.00787, 0.18964, 0.02191, 0.00411, 3.85727), (0.4, 1.1), 0, 0, "")
    for wavelength_m in (460e-9, 550e-9, 640e-9):
        ours = refractive_index(find_material("pmma"), wavelength_m)
        assert ours == pytest.approx(refractive_index(other, wavelength_m), abs=2.5e-3)


def test_ip_dip_agrees_with_a_later_measurement():
    # M. Schmid, D. Ludescher, H. Giessen, Opt. Mater. Express 9, 4564 (2019), doi:10.1364/OME.9.004564, table 2. The
    # index grows by some 5e-3 with the dose that the resist gets.
    terms = (1.2899, 1.1283e-2, 6.0569e-2, 7.7762e-2, 1.1844e5, 2.5802e7)
    other = Material("x", "sellmeier", terms, (0.4, 1.6), 0, 0, "")
    for wavelength_m in (460e-9, 550e-9, 640e-9):
        ours = refractive_index(find_material("ip_dip"), wavelength_m)
        assert ours == pytest.approx(refractive_index(other, wavelength_m), abs=6e-3)


@pytest.mark.parametrize("material", MATERIALS.values(), ids=MATERIALS)
def test_every_material_is_described_and_disperses_normally(material):
    assert material.source
    indices = [refractive_index(material, wavelength_m) for wavelength_m in np.linspace(440e-9, 1050e-9, 30)]
    assert (np.diff(indices) < 0).all()
    assert TypeAdapter(Material).validate_python(json.loads(json.dumps(asdict(material)))) == material
    for edge_um in material.range_um:
        refractive_index(material, edge_um * 1e-6)
    with pytest.raises(ValueError, match="choose a wavelength"):
        refractive_index(material, (material.range_um[0] - 1e-3) * 1e-6)


def test_glass_grows_denser_and_plastics_thinner_with_temperature():
    warmer = {
        name: refractive_index(each, D_LINE_M, 45) - refractive_index(each, D_LINE_M)
        for name, each in MATERIALS.items()
    }
    assert warmer["n_bk7"] == pytest.approx(25 * 2.9e-6)
    assert {name for name, change in warmer.items() if change > 0} == {"fused_silica", "n_bk7"}


def test_the_captioning_papers_lens_material():
    material = table_material("lens", [640e-9, 460e-9, 550e-9], [1.488, 1.499, 1.493], "released with the paper")
    for wavelength_m, index in ((460e-9, 1.499), (550e-9, 1.493), (640e-9, 1.488), (505e-9, 1.496)):
        assert refractive_index(material, wavelength_m) == pytest.approx(index, abs=1e-12)
    assert TypeAdapter(Material).validate_python(json.loads(json.dumps(asdict(material)))) == material
    with pytest.raises(ValueError, match=r"0\.46 to 0\.64 um"):
        refractive_index(material, 459e-9)


@pytest.mark.parametrize(
    ("wavelengths_m", "indices", "message"),
    [
        ([500e-9], [1.5], "at least two"),
        ([500e-9, 600e-9], [1.5], "as many"),
        ([500e-9, 500e-9], [1.5, 1.5], "each given once"),
        ([-500e-9, 600e-9], [1.5, 1.5], "positive"),
        ([500e-9, 600e-9], [1.5, 0.5], "at least 1"),
    ],
)
def test_a_table_that_is_none_is_refused(wavelengths_m, indices, message):
    with pytest.raises(ValueError, match=message):
        table_material("x", wavelengths_m, indices, "nowhere")


def test_the_page_on_masks_has_the_numbers_of_the_code():
    page = (Path(__file__).resolve().parents[2] / "docs" / "masks.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d[\d.]* \| [\d.]+ \| \S+)", page, re.MULTILINE))
    assert rows.keys() == MATERIALS.keys()
    for name, material in MATERIALS.items():
        index, abbe, change = rows[name].split(" | ")
        assert float(index) == round(refractive_index(material, D_LINE_M), 4)
        assert float(abbe) == round(abbe_number(material), 1)
        assert float(change) == pytest.approx(material.dn_dt_per_k)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="fused_silica, ip_dip, n_bk7"):
        find_material("unobtainium")
