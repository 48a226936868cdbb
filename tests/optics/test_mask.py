"""Masks and their file: what is written comes back, and what cannot be a mask is refused with path, key and value."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optics.mask import FORMAT, Geometry, Mask, MaskError, cell_positions_m, circular_stop, read_mask, write_mask
from optics.materials import FUSED_SILICA, MATERIALS, Material


def example() -> Mask:
    height_m = np.arange(12.0).reshape(3, 4) * 1e-7
    return Mask(height_m, 2e-6, about={"made_by": "a test", "levels": [1, 2]})


def same(first: Mask, second: Mask) -> bool:
    arrays_equal = all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("height_m", "stop", "transmission")
    )
    rest = ("pitch_m", "material", "geometry", "surface", "about")
    return arrays_equal and all(getattr(first, name) == getattr(second, name) for name in rest)


GEOMETRIES = st.builds(
    Geometry,
    sensor_distance_m=st.floats(1e-2, 1),
    pixel_pitch_m=st.floats(1e-7, 1e-3),
    psf_px=st.tuples(st.integers(1, 8191), st.integers(1, 8191)),
    wavelengths_m=st.tuples(*[st.floats(3e-7, 1e-6)] * 3),
    source_distance_m=st.floats(1e-3, math.inf),
)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), shape=st.tuples(st.integers(1, 6), st.integers(1, 6)), geometry=GEOMETRIES)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: tuple[int, int], geometry: Geometry
) -> None:
    unit = arrays(np.float64, shape, elements=st.floats(0, 1))
    mask = Mask(
        data.draw(arrays(np.float64, shape, elements=st.floats(0, 1e-3))),
        data.draw(st.floats(1e-7, 1e-3)),
        data.draw(st.sampled_from(sorted(MATERIALS.values(), key=lambda each: each.name))),
        geometry,
        data.draw(unit.filter(np.any)),
        data.draw(unit),
        data.draw(st.sampled_from(["stepped", "smooth"])),
        data.draw(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()))),
    )
    path = tmp_path_factory.mktemp("mask") / "mask.npz"
    write_mask(mask, path)
    back = read_mask(path)
    assert same(back, mask)
    assert back.id == mask.id
    assert list(path.parent.iterdir()) == [path]


def test_the_file_opens_without_this_project(tmp_path: Path) -> None:
    write_mask(example(), tmp_path / "mask.npz")
    with np.load(tmp_path / "mask.npz", allow_pickle=False) as content:
        np.testing.assert_array_equal(content["height_m"], example().height_m)
        assert float(content["pitch_m"]) == 2e-6
        assert json.loads(str(content["material"]))["name"] == "fused_silica"
        geometry = json.loads(str(content["geometry"]))
    assert geometry["sensor_distance_m"] == 5e-3
    assert geometry["source_distance_m"] is None  # infinity


def test_the_id_names_what_light_does() -> None:
    mask = example()
    assert len(mask.id) == 64
    assert replace(mask, about={}).id == mask.id
    others = [
        replace(mask, height_m=mask.height_m + 1e-12),
        replace(mask, pitch_m=2.1e-6),
        replace(mask, stop=np.ones((3, 4))),
        replace(mask, transmission=np.full((3, 4), 0.5)),
        replace(mask, surface="smooth"),
        replace(mask, material=replace(FUSED_SILICA, dn_dt_per_k=0.0)),
        replace(mask, geometry=Geometry(source_distance_m=1.0)),
    ]
    assert len({mask.id, *(each.id for each in others)}) == len(others) + 1


def test_a_mask_keeps_its_own_copy_and_its_axes() -> None:
    height_m = np.zeros((3, 4))
    mask = Mask(height_m, 2e-6)
    height_m += 1
    assert mask.height_m.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        mask.height_m[0, 0] = 1
    np.testing.assert_allclose(cell_positions_m(4, 2e-6), [-3e-6, -1e-6, 1e-6, 3e-6])
    np.testing.assert_array_equal(circular_stop((3, 5), 1.0, 2.0), [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(mask.amplitude, mask.stop * mask.transmission)
    assert replace(mask, height_m=np.arange(12.0).reshape(3, 4) * 1e-7).levels == int(mask.stop.sum())
    with pytest.raises(MaskError, match="smaller than one cell"):
        circular_stop((4, 4), 1e-6, 0.5e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"height_m": np.zeros(3)}, r"height_m must be \(rows, columns\)"),
        ({"height_m": np.full((3, 4), np.nan)}, "finite"),
        ({"height_m": np.full((3, 4), -1e-9)}, "add a constant"),
        ({"pitch_m": 0.0}, "pitch_m must be a positive number of metres, got 0.0"),
        ({"pitch_m": math.nan}, "pitch_m"),
        ({"stop": np.zeros((3, 4))}, "no light enters"),
        ({"stop": np.ones((4, 3))}, r"stop must have the shape of height_m, \(3, 4\), got \(4, 3\)"),
        ({"transmission": np.full((3, 4), 1.5)}, "transmission is an amplitude"),
        ({"surface": "rough"}, '"stepped" or "smooth", got \'rough\''),
    ],
)
def test_what_cannot_be_a_mask(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MaskError, match=says):
        replace(example(), **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sensor_distance_m": -5e-3}, "sensor_distance_m must be a positive number of metres, got -0.005"),
        ({"pixel_pitch_m": math.inf}, "pixel_pitch_m"),
        ({"psf_px": (63,)}, "psf_px must be two"),
        ({"psf_px": (0, 63)}, "psf_px must be two"),
        ({"psf_px": (63.5, 63)}, "psf_px must be two"),
        ({"wavelengths_m": (5e-7,)}, "three"),
        ({"wavelengths_m": (5e-7, 5e-7, math.nan)}, "three"),
        ({"source_distance_m": 0.0}, "source_distance_m"),
        ({"source_distance_m": math.nan}, "source_distance_m"),
    ],
)
def test_what_cannot_be_a_geometry(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MaskError, match=says):
        Geometry(**changes)


def test_a_geometry_takes_lists_and_numpys_numbers() -> None:
    geometry = Geometry(psf_px=[np.int64(5), 7], wavelengths_m=list(np.array([3, 2, 1]) * 2e-7))  # type: ignore[arg-type]
    assert geometry == Geometry(psf_px=(5, 7), wavelengths_m=(3 * 2e-7, 2 * 2e-7, 2e-7))
    assert all(type(side) is int for side in geometry.psf_px)


def changed(path: Path, **changes: Any) -> Path:
    """A mask's file with entries replaced, or left out where None."""
    write_mask(example(), path)
    with np.load(path) as content:
        entries = {name: content[name] for name in content.files}
    entries.update(changes)
    np.savez(path, **{name: value for name, value in entries.items() if value is not None})
    return path


def with_key(kind: str, **changes: Any) -> str:
    """The JSON of a mask's material or geometry with keys replaced, or left out where the value is ..."""
    about = {"geometry": Geometry(source_distance_m=1.0), "material": FUSED_SILICA}[kind]
    values: dict[str, Any] = {name: getattr(about, name) for name in about.__dataclass_fields__} | changes
    return json.dumps({name: value for name, value in values.items() if value is not ...})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": None, "geometry": None}, "geometry is missing, a mask has height_m, pitch_m, material, geometry$"),
        ({"stop": None}, "stop is missing"),
        ({"format": "canopic-mask-9"}, f'format is "canopic-mask-9", expected "{FORMAT}".*newer'),
        ({"height_m": None}, "height_m is missing"),
        ({"height_m": np.array([["a"]])}, "numbers"),
        ({"height_m": np.array([[-1.0]])}, "height_m must be finite and not negative"),
        ({"stop": np.ones((2, 2))}, "stop must have the shape"),
        ({"pitch_m": np.array([1.0, 2.0])}, "pitch_m must be one number, got float64 of shape"),
        ({"pitch_m": "two"}, "pitch_m must be one number"),
        ({"surface": "odd"}, "surface must be"),
        ({"material": "glass"}, "material 'glass' is not known: choose one of .*fused_silica"),
        ({"material": "{glass"}, "material must be JSON"),
        ({"height_m": np.full((4, 4), 6e-3)}, "height_m reaches 0.006 m, .*heights are in metres"),
        ({"material": "[1]"}, "material must be a JSON object"),
        ({"about": "3"}, "about must be a JSON object"),
        ({"about": "[" * 100_000}, "about must be JSON"),
        ({"geometry": with_key("geometry", psf_px=...)}, r"geometry must have exactly .*psf_px.*missing or unknown"),
        ({"geometry": with_key("geometry", distance_mm=5)}, r"\['distance_mm'\] missing or unknown"),
        ({"geometry": with_key("geometry", sensor_distance_m="far")}, "geometry.sensor_distance_m: .*got 'far'"),
        ({"geometry": with_key("geometry", sensor_distance_m=-1)}, "sensor_distance_m must be a positive number"),
        ({"geometry": with_key("geometry", wavelengths_m=[5e-7])}, "geometry.wavelengths_m"),
        ({"material": with_key("material", formula="magic")}, "material.formula: .*got 'magic'"),
        ({"material": with_key("material", name=...)}, "material must have exactly"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = changed(tmp_path / "mask.npz", **changes)
    with pytest.raises(MaskError, match=says) as caught:
        read_mask(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_made_by_hand_needs_four_entries(tmp_path: Path) -> None:
    heights = np.random.default_rng(0).random((9, 7)) * 1e-6
    path = tmp_path / "mine.npz"
    np.savez(path, height_m=heights, pitch_m=2e-6, material="pmma", geometry=with_key("geometry"))
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.height_m, heights)
    assert mask.material.name == "pmma"
    assert mask.id == Mask(heights, 2e-6, mask.material, Geometry(source_distance_m=1.0)).id


def test_a_file_that_is_absent_or_none(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"absent\.npz is not a readable mask: No such file"):
        read_mask(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("height")
    with pytest.raises(MaskError, match="not a mask"):
        read_mask(tmp_path / "text.npz")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_still_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut off, or with bytes changed: a MaskError that begins with the path, or, where nothing important was hit, a
    mask; never anything else."""
    path = tmp_path_factory.mktemp("damaged") / "mask.npz"
    write_mask(example(), path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        mask: Mask | MaskError = read_mask(path)
    except MaskError as error:
        mask = error
    if isinstance(mask, MaskError):
        assert str(mask).startswith(str(path))
    else:
        assert mask.height_m.shape == (3, 4)


def test_what_cannot_be_stored_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    write_mask(example(), path)
    for about in ({"bad": math.nan}, {"bad": object()}):
        with pytest.raises(MaskError, match="about must be a JSON object"):
            write_mask(replace(example(), about=about), path)
    assert same(read_mask(path), example())


def test_a_material_of_ones_own_comes_back(tmp_path: Path) -> None:
    own = Material("mine", "table", (0.4, 1.6, 0.7, 1.58), (0.4, 0.7), -1e-4, 7e-5, "measured here")
    write_mask(replace(example(), material=own), tmp_path / "mask.npz")
    assert read_mask(tmp_path / "mask.npz").material == own
