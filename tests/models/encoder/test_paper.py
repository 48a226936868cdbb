"""`canopic train paper`: its configuration, the published table, what attackers see, and the whole command."""

import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from models.encoder.paper_config import FIG_6, SMALL, PaperError, checked_paper_plan, read_paper_plan
from models.encoder.paper_table import ROWS, TABLE_1, table_markdown

ROOT = Path(__file__).resolve().parents[3]
# Everything as small as it goes: two people more than chance needs, networks of a few channels, one cycle.
TINY = {
    "sizes": {
        "people": 2, "test_each": 3, "validation_each": 2, "faces": 24, "faces_validation": 4, "faceless_test": 6,
        "learning_people": 3, "learning_each": 8, "learning_validation_each": 3, "learning_faceless": 20,
        "learning_faceless_validation": 8, "random_crops": 2,
    },
    "learning": {
        "width": 0.05, "cycles": 1, "encoder_epochs": 1, "recognition_epochs": 1, "detection_epochs": 1,
        "judge_epochs": 1, "batch": 16,
    },
    "attackers": {"network": "small", "width": 0.05, "identity_epochs": 1, "face_epochs": 1, "batch": 16},
    "detection": {
        "subjects": ["pixelate", "conv1_maxpool_quantize_alpha1"], "scenes": 4, "steps": 2, "batch": 2,
        "widths": [4, 4, 8], "folds": [1],
    },
}  # fmt: skip


def written(folder: Path, trees: dict[str, Path], **changes: object) -> Path:
    """A configuration file in `folder` for the generated trees, with some keys replaced."""
    values = {"data": {name: str(path) for name, path in trees.items()}, "out": "out", **TINY, **changes}
    path = folder / "paper.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(values, file)
    return path


def test_the_ready_configuration_is_the_papers_own(trees: dict[str, Path], tmp_path: Path) -> None:
    text = (ROOT / "docs" / "paper.yaml").read_text()
    for name, path in trees.items():
        text = text.replace(f"/data/{'ilsvrc2012' if name == 'ilsvrc' else name} ", f"{path} ")
    (tmp_path / "paper.yaml").write_text(text)
    plan = read_paper_plan(tmp_path / "paper.yaml")
    assert plan.rows == [row.name for row in TABLE_1]
    assert (plan.sizes.people, plan.sizes.test_each, plan.sizes.validation_each) == (100, 30, 30)
    assert (plan.sizes.faces, plan.sizes.faceless_test) == (100_000, 3000)
    assert plan.detection.subjects == list(FIG_6)
    assert plan.attackers.network == "googlenet"
    assert plan.attackers.width == 1
    assert plan.learning.width is None
    assert plan.out == str(tmp_path / "paper-rerun")
    assert plan.cache == str(tmp_path / "paper-rerun" / "cache")
    (tmp_path / "paper.yaml").write_text(text.replace("scale: full", "scale: small\nsizes: {people: 7}"))
    small = read_paper_plan(tmp_path / "paper.yaml")
    assert small.sizes.people == 7
    assert small.sizes.faces == SMALL["sizes"]["faces"]
    assert small.learning.width == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rowz": []}, r"rowz: is no setting; remove it or correct its spelling"),
        ({"rows": ["conv2"]}, r"rows: \['conv2'\] is refused: each of these once.*conv1_maxpool_quantize_alpha50"),
        ({"rows": ["clean", "clean"]}, r"rows: .* is refused"),
        ({"seeds": [1, 1]}, r"seeds: \[1, 1\] is refused: each seed once"),
        ({"seeds": []}, r"seeds: \[\] is refused"),
        ({"sizes": {"people": 1}}, r"sizes\.people: 1 is refused: .*greater than or equal to 2"),
        ({"sizes": {"people": "100"}}, r"sizes\.people: '100' is refused"),
        ({"attackers": {"network": "vgg"}}, r"attackers\.network: 'vgg' is refused: .*googlenet"),
        ({"detection": {"subjects": ["conv1_alpha300"]}}, r"detection\.subjects: .*conv1_alpha300.* is refused"),
        ({"detection": {"folds": [11]}}, r"detection\.folds\.0: 11 is refused"),
        ({"data": {"vggface2": "/nowhere"}}, r"data\.ilsvrc: is missing: holds train/ and val/"),
        ({"data": {"vggface2": ".", "ilsvrc": "./no"}}, r"data\.ilsvrc: '.*/no' is no folder; .*paper-data\.md"),
        ({"data": {"vggface2": ".", "ilsvrc": "."}}, r"data\.fddb: null is refused: Fig\. 6 needs it"),
        (
            {"data": {"vggface2": ".", "ilsvrc": ".", "learning_list": "paper.yaml"}, "detection": {"subjects": []}},
            r"data\.learning_list and data\.learning_validation_list go together",
        ),
    ],
)
def test_errors_name_file_key_and_value(
    trees: dict[str, Path], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = written(tmp_path, trees, **changes)
    with pytest.raises(PaperError, match=rf"paper\.yaml: {message}"):
        read_paper_plan(path)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    values = {"data": {"vggface2": "./a", "ilsvrc": "./b", "wider": "./c", "fddb": "./d"}, "out": "o"}
    with pytest.raises(PaperError) as caught:
        checked_paper_plan(values, "x.yaml", tmp_path)
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "is not YAML"), ("- a", "expected sections"), ("", "expected sections")]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "paper.yaml").write_text(content)
    with pytest.raises(PaperError, match=message):
        read_paper_plan(tmp_path / "paper.yaml")
    with pytest.raises(PaperError, match="cannot be read"):
        read_paper_plan(tmp_path / "none.yaml")


def test_the_published_table_is_the_papers() -> None:
    """Figures that the text of the paper quotes or compares."""
    assert len(TABLE_1) == len(ROWS) == 14
    strongest = ROWS["conv1_maxpool_quantize_alpha300"].published
    assert strongest["learned", "identity"] == 5.2
    assert strongest["learned", "face"] == 74.81
    better = ROWS["conv4_maxpool_quantize_alpha1"].published
    for worse in ("blur", "pixelate"):
        assert better["learned", "identity"] < ROWS[worse].published["unlearned", "identity"]
        assert better["learned", "face"] > ROWS[worse].published["unlearned", "face"]
    assert [row.name for row in TABLE_1 if not row.learned] == ["clean", "blur", "pixelate", "maxpool"]


def test_the_table_puts_published_and_measured_side_by_side() -> None:
    cell = {
        "row": "maxpool", "title": "MP", "kind": "unlearned", "alpha": None, "percent": 50.0, "low": 40.0, "high": 60.0,
        "n": 90, "seeds": 2, "train_percent": 99.0,
    }  # fmt: skip
    cells = [
        cell | {"question": "identity", "chance": 0.01, "published": 60.4},
        cell | {"question": "face", "chance": 0.5, "published": None},
    ]
    lines = table_markdown(cells, ["a note"]).splitlines()
    row = "| MP | - | unlearned | 60.40 | 50.00 [40.0, 60.0] n=90 x 2 | - | 50.00 [40.0, 60.0] n=90 x 2 |"
    assert lines[2] == row
    assert "Chance: face 50.0 %, identity 1.0 %." in lines[4]
    assert lines[-1] == "- a note"


def test_conventional_views_work_on_srgb_values() -> None:
    pytest.importorskip("torch")
    from models.encoder.paper_views import baseline_view

    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    means = baseline_view("pixelate").encode(crops)
    assert means.shape == (3, 8, 8, 3)
    assert means[1, 2, 3, 0] == round(float(crops[1, 16:24, 24:32, 0].mean()))
    flat = np.full((1, 64, 64, 3), 91, np.uint8)
    assert (baseline_view("blur").encode(flat) == 91).all()
    assert baseline_view("blur").encode(crops).std() < crops.std() / 5
    assert baseline_view("clean").encode(crops) is crops


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_rows_and_a_figure_run_end_to_end_and_are_not_done_again(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from host.commands.paper import rerun_paper

    # Scenes are measured in shards of 250 otherwise.
    monkeypatch.setattr("models.detector.cache.SHARD", 4)
    path = written(tmp_path, trees, rows=["pixelate", "conv1_maxpool_quantize_alpha1"])
    assert rerun_paper(path, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "| Conv(1) + MP + Quantize | 1 | learned | 33.73 |" in shown
    out = tmp_path / "out"
    table = json.loads((out / "table1.json").read_text())
    found = {(cell["row"], cell["kind"], cell["question"]): cell for cell in table["cells"]}
    assert len(found) == 6
    identity = found["conv1_maxpool_quantize_alpha1", "learned", "identity"]
    assert (identity["n"], identity["chance"], identity["published"]) == (6, 0.5, 33.73)
    assert identity["low"] <= identity["percent"] <= identity["high"]
    face = found["pixelate", "unlearned", "face"]
    assert (face["n"], face["chance"], face["published"]) == (12, 0.5, 97.73)
    assert any("Attackers got codes alone" in note for note in table["notes"])
    assert any("some images without a face do show one" in note for note in table["notes"])
    encoder = out / "encoders" / "conv1_maxpool_quantize_alpha1_seed0"
    assert {"encoding.npz", "learning.json", "checkpoint.pt"} <= {one.name for one in encoder.iterdir()}
    roc = json.loads((out / "roc.json").read_text())
    curve = roc["curves"]["conv1_maxpool_quantize_alpha1"]
    assert (curve["photographs"], curve["faces"]) == (2, 2)
    assert curve["roc"]["true_positive_rate"][0] == 0
    assert any("Faster R-CNN" in note for note in roc["notes"])
    assert (out / "fig6.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.part"))
    assert not list((out / "cache" / "codes").iterdir()), "codes are gigabytes: gone once they are answered"
    before = contents(out)
    assert rerun_paper(path, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["table1"]["cells"] == table["cells"]
    again = contents(out)
    redone = [name for name in before if before[name] != again[name]]
    assert all(name.startswith(("table1.", "roc.", "fig6.")) for name in redone), redone
    assert again.keys() == before.keys()


def test_people_that_are_tested_on_were_never_learned_on(trees: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from models.encoder.paper_data import PaperData

    data = PaperData(read_paper_plan(written(tmp_path, trees)), lambda *_: None)
    train, validation, people = data.learning_pictures
    # The one with the third most pictures is in the test folder, as one of the paper's is: learned on, not tested.
    assert people == ["train/n000052", "train/n000042", "test/n000031"]
    assert data.evaluation.people == ["test/n000021", "test/n000011"]
    assert not set(train.names) & set(validation.names)
    learned = {name.rpartition("/")[0] for name in train.names + validation.names}
    assert not learned & set(data.evaluation.people)
    parts = data.face
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [48, 8, 12]
    assert parts.train.looks == 2
    assert parts.test.digest != parts.train.digest
    material = data.learning_material
    assert material.counts() == {
        "people": 3, "faces": 24, "held_out_faces": 9, "positives": 24, "negatives": 20, "held_out_positives": 9,
        "held_out_negatives": 8,
    }  # fmt: skip


def test_published_lists_decide_who_is_learned_on(trees: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from models.datasets.files import AnnotationError
    from models.encoder.paper_data import PaperData

    lists = {"learning_list": ["n000002/0001_01", "n000012/0002_01"], "learning_validation_list": ["n000012/0003_01"]}
    for name, content in lists.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"train/{one}.jpg\n" for one in content))
    roots = {name: str(path) for name, path in trees.items()}
    given = written(tmp_path, trees, data=roots | {name: f"{name}.txt" for name in lists})
    train, validation, people = PaperData(read_paper_plan(given), lambda *_: None).learning_pictures
    assert people == ["train/n000002", "train/n000012"]
    assert (train.people, validation.people) == ([0, 1], [1])
    for wrong, message in (("n000022/0001_01", "names a person, train/n000022"), ("n000012/0002_01", "names too")):
        (tmp_path / "learning_validation_list.txt").write_text(f"train/{wrong}.jpg\n")
        with pytest.raises(AnnotationError, match=message):
            PaperData(read_paper_plan(given), lambda *_: None).learning_pictures  # noqa: B018


def test_rows_become_plans_with_their_own_alpha_seed_and_widths(trees: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from models.encoder.paper import learning_plan, tasks

    names = ["clean", "conv4_maxpool_quantize_alpha50", "maxpool"]
    plan = read_paper_plan(written(tmp_path, trees, rows=names, seeds=[3, 4], alphas=[7.0, 50.0]))
    asked = list(tasks(plan))
    assert [(one.name, one.kind) for one in asked if one.seed == 3] == [
        ("clean_seed3", "unlearned"),
        ("conv4_maxpool_quantize_alpha50_seed3", "unlearned"),
        ("conv4_maxpool_quantize_alpha7_seed3", "learned"),
        ("conv4_maxpool_quantize_alpha50_seed3", "learned"),
        ("maxpool_seed3", "unlearned"),
    ]
    assert asked[3].name == "conv4_maxpool_quantize_alpha7_seed3"
    learned = learning_plan(asked[3], plan)
    assert (learned.privacy.alpha, learned.seed, learned.schedule.cycles) == (7, 3, 1)
    assert {network.width for network in learned.recognition.networks} == {0.05}
    full = read_paper_plan(written(tmp_path, trees, learning={}))
    published = learning_plan(asked[3], full)
    assert (published.schedule.cycles, published.recognition.epochs, published.detection.epochs) == (20, 100, 10)
    assert published.recognition.networks[0].width == 1


def test_a_missing_data_set_ends_the_command_with_one_message(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    import typer

    from host.commands.paper import rerun_paper

    roots = {name: str(path) for name, path in trees.items()} | {"vggface2": str(trees["ilsvrc"])}
    with pytest.raises(typer.Exit) as caught:
        rerun_paper(written(tmp_path, trees, data=roots, rows=["clean"]), as_json=False)
    assert caught.value.exit_code == 2
    assert "is missing or no folder. It should hold a folder for each person" in capsys.readouterr().err


def test_crops_by_boxes_put_48_px_on_every_face(trees: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from models.encoder.paper_data import PaperData

    tight = PaperData(read_paper_plan(written(tmp_path, trees, crop="box")), lambda *_: None)
    loose = PaperData(read_paper_plan(written(tmp_path, trees)), lambda *_: None)
    assert tight.identity.train.looks == 1
    assert [len(part) for part in (tight.face.train, tight.face.test)] == [48, 12]
    # Faces are the only thing in these pictures whose red is above 200.
    rows = [(data.identity.test.stores[0].firsts()[:, :, 32, 0] > 200).sum(axis=1) for data in (tight, loose)]
    assert (abs(rows[0] - 46) <= 4).all(), "the eyes' row apart, 48 px"
    assert np.ptp(rows[1]) > np.ptp(rows[0])


def test_an_interrupted_rerun_goes_on_and_ends_with_the_same_table(
    trees: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    import models.encoder.paper as paper
    from host.commands.paper import rerun_paper

    rows = {"rows": ["pixelate", "maxpool"], "detection": {"subjects": []}}
    assert rerun_paper(written(tmp_path, trees, out="whole", cache="cache", **rows), as_json=False) == 0
    path = written(tmp_path, trees, out="cut", **rows)
    attacked, answers = paper.attacked, []

    def stop(*args: object) -> object:
        if len(answers) == 2:
            raise KeyboardInterrupt
        answers.append(attacked(*args))
        return answers[-1]

    monkeypatch.setattr(paper, "attacked", stop)
    assert rerun_paper(path, as_json=False) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "cut" / "table1.json").read_text())["cells"]) == 2
    answers.clear()
    assert rerun_paper(path, as_json=False) == 0
    assert len(answers) == 2, "a finished answer was made again"
    whole, cut = (json.loads((tmp_path / one / "table1.json").read_text())["cells"] for one in ("whole", "cut"))
    assert whole == cut
    assert not (tmp_path / "cut" / "fig6.png").exists()


def test_an_out_that_is_a_file_is_said_before_anything_is_read(
    trees: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from host.commands.paper import rerun_paper

    (tmp_path / "taken").touch()
    with pytest.raises(typer.Exit) as ended:
        rerun_paper(written(tmp_path, trees, out="taken"), as_json=False)
    assert ended.value.exit_code == 2
    assert f"out: {tmp_path / 'taken'}: {tmp_path / 'taken'} is a file" in capsys.readouterr().err
