"""A bundle: one file with an encoding, the models trained for it and their evidence; its id is a digest of its content.

The file format is described in docs/bundle.md: a zip archive of stored entries, `manifest.json` first, which names the
SHA-256 of every other entry. Reading trusts nothing: a damaged, truncated, inconsistent or newer file is refused with a
BundleError that names the entry. The digests find damage; they are no signature, so whoever needs to know who made a
bundle compares its id with one that came another way.
"""

import difflib
import hashlib
import importlib.resources
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from optics.archive import (
    BundleError,
    array_from_bytes,
    array_to_bytes,
    canonical_json,
    json_from_bytes,
    pack,
    unpack,
)
from optics.encoding import Encoding
from optics.whole_file import write_whole

SCHEMA = 1
SUFFIX = ".canopic"
# The largest bundle that is read: far above any real one (a few megabytes), far below a Pi's memory.
LARGEST_FILE_BYTES = 256 * 1024 * 1024
LARGEST_SENSOR_PX = 65_535
# Bundles that ship with the package: what is used when none is named, the strongest privacy, the most detection.
NAMES = ("default", "private", "useful")


class ShadowedNameWarning(UserWarning):
    """A file has the name of a shipped bundle, and the shipped bundle was taken."""


@dataclass(frozen=True, eq=False)
class Attachment:
    """A JSON document and named arrays that belong together: the mask of a bundle, or its calibration."""

    document: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that a camera needs to use one encoding.

    encoding: see `optics.encoding.Encoding`. rows_px, columns_px: the sensor plane that it was made for.
    models: file name (such as "detector.onnx") to content. metadata: the same names to a JSON object, which must have
    "encoding_id" (the id of this bundle's encoding) and may have "score_threshold", "card" and others.
    evidence: JSON object of what was measured about the encoding. mask, calibration: optional.

    Raises BundleError when a model names another encoding, has no metadata, or a name or a value cannot be stored.
    """

    encoding: Encoding
    rows_px: int = 480
    columns_px: int = 640
    models: Mapping[str, bytes] = field(default_factory=dict)
    metadata: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    mask: Attachment | None = None
    calibration: Attachment | None = None

    def __post_init__(self) -> None:
        for name, size in (("rows_px", self.rows_px), ("columns_px", self.columns_px)):
            if not (type(size) is int and self.encoding.pool <= size <= LARGEST_SENSOR_PX):
                raise BundleError(
                    f"sensor {name} must be whole pixels from {self.encoding.pool} (one cell) to {LARGEST_SENSOR_PX}, "
                    f"got {size!r}"
                )
        if set(self.models) != set(self.metadata):
            raise BundleError(f"models {sorted(self.models)} and their metadata {sorted(self.metadata)} must match")
        for name, about in self.metadata.items():
            named = about.get("encoding_id") if isinstance(about, dict) else None
            if named != self.encoding.id:
                raise BundleError(
                    f"model {name} was trained for encoding {named}, this bundle holds {self.encoding.id}: "
                    "use the model trained for this encoding, or the bundle it came with"
                )

    @property
    def id(self) -> str:
        """SHA-256 (64 hexadecimal digits) over the content; independent of how the file is packed."""
        return _manifest(_entries(self))["id"]  # type: ignore[no-any-return]


def bundle_to_bytes(bundle: Bundle) -> bytes:
    """The file's content; equal bundles give equal bytes on every machine. Raises BundleError for unstorable values."""
    entries = _entries(bundle)
    return pack({"manifest.json": canonical_json(_manifest(entries)), **entries})


def bundle_from_bytes(content: bytes) -> Bundle:
    """The bundle in a file's content. Raises BundleError for anything but an intact bundle of a schema known here."""
    if len(content) > LARGEST_FILE_BYTES:
        raise BundleError(f"file of {len(content)} bytes is larger than any bundle ({LARGEST_FILE_BYTES} bytes)")
    entries = unpack(content)
    if "manifest.json" not in entries and "kernels.npy" in entries:
        raise BundleError(
            "this is an encoding alone, not a CAnOPIC bundle: a bundle (.canopic) holds the models for it, too; train "
            "a detector for it and ship both (docs/bundle.md)"
        )
    if "manifest.json" not in entries:
        raise BundleError("manifest.json is missing: this zip file is not a CAnOPIC bundle")
    _check_manifest(entries)
    del entries["manifest.json"]
    return _bundle(entries)


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle file. Raises BundleError, whose message begins with the path; a missing file is one, too."""
    try:
        size = Path(path).stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise BundleError(f"file of {size} bytes is larger than any bundle ({LARGEST_FILE_BYTES} bytes)")
        return bundle_from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def write_bundle(bundle: Bundle, path: str | Path) -> None:
    """Write a bundle file, whole or not at all. Raises OSError, BundleError for a bundle that cannot be stored."""
    write_whole(Path(path), bundle_to_bytes(bundle))


def shipped_bundles() -> dict[str, Path]:
    """Name to file of the bundles in this installation, "default" first: the names that stand for a bundle anywhere."""
    folder = importlib.resources.files("models") / "bundles"
    found = {path.stem: path for path in folder.glob(f"*{SUFFIX}")} if isinstance(folder, Path) else {}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != NAMES[0], name))}


def default_bundle_path() -> Path:
    """Where the bundle that is used when none is named lies. Raises BundleError when the installation has none."""
    return resolve_bundle(NAMES[0])


def names_bundle(text: str) -> bool:
    """Whether a text can only mean a bundle: a shipped one's name, or a file name that ends in `.canopic`."""
    return text in NAMES or text in shipped_bundles() or text.endswith(SUFFIX)


def resolve_bundle(name_or_path: str | Path) -> Path:
    """The file of a bundle, given a shipped one's name ("default", "private", "useful") or a path.

    A name is never a file's: a file called `default` in the working directory is meant by "./default" alone, and a
    ShadowedNameWarning says so where there is one. What is returned means the same file when it is resolved again.
    Raises BundleError where there is no such bundle, with the names that there are and the one that is most like it.
    """
    text, path, shipped = str(name_or_path), Path(name_or_path), shipped_bundles()
    if text in shipped or text in NAMES:
        if path.is_file():
            warnings.warn(
                f'"{text}" is the bundle that ships with canopic, not the file of that name in this folder: '
                f"write ./{text} for the file",
                ShadowedNameWarning,
                stacklevel=2,
            )
        if text not in shipped:
            raise BundleError(_not_shipped(text, shipped))
        return shipped[text]
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, shipped, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise BundleError(
            f"{text}: no such bundle file: give a path to a {SUFFIX} file, or the name of a shipped bundle "
            f"({_listed(shipped)}){meant}"
        )
    # "./default" came as text and leaves as a path, which forgets the "./".
    return path.absolute() if str(path) in NAMES or str(path) in shipped else path


def _entries(bundle: Bundle) -> dict[str, bytes]:
    """Every entry but the manifest, in the order in which they are written."""
    encoding = bundle.encoding
    entries = {
        "encoding.json": canonical_json({"id": encoding.id, "pool": encoding.pool, "range": encoding.range}),
        "encoding/kernels.npy": array_to_bytes(encoding.kernels),
        "encoding/thresholds.npy": array_to_bytes(encoding.thresholds),
        "sensor.json": canonical_json({"rows_px": bundle.rows_px, "columns_px": bundle.columns_px}),
        "models.json": canonical_json({name: dict(about) for name, about in bundle.metadata.items()}),
        "evidence.json": canonical_json(dict(bundle.evidence)),
    }
    for kind, attachment in (("mask", bundle.mask), ("calibration", bundle.calibration)):
        if attachment is not None:
            entries[f"{kind}.json"] = canonical_json(attachment.document)
            for name, array in sorted(attachment.arrays.items()):
                entries[f"{kind}/{_plain(name)}.npy"] = array_to_bytes(array)
    for name, content in sorted(bundle.models.items()):
        entries[f"models/{_plain(name)}"] = bytes(content)
    return entries


def _manifest(entries: Mapping[str, bytes]) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": "canopic-bundle",
        "schema": SCHEMA,
        "entries": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in entries.items()
        },
    }
    return {**manifest, "id": hashlib.sha256(canonical_json(manifest)).hexdigest()}


def _check_manifest(entries: Mapping[str, bytes]) -> None:
    """Refuse entries that are not exactly those of their manifest."""
    manifest = json_from_bytes("manifest.json", entries["manifest.json"])
    if manifest.get("format") != "canopic-bundle":
        raise BundleError("manifest.json does not describe a CAnOPIC bundle")
    schema = manifest.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BundleError(f"manifest.json: schema must be a whole number from 1, got {schema!r}")
    # Before anything else is judged: a newer format may differ in all of it.
    if schema > SCHEMA:
        raise BundleError(
            f"the bundle has schema {schema}, this version of canopic reads up to {SCHEMA}: upgrade canopic "
            "(pip install --upgrade canopic)"
        )
    listed = manifest.get("entries")
    if not isinstance(listed, dict):
        raise BundleError("manifest.json: entries must be an object")
    present = {name: content for name, content in entries.items() if name != "manifest.json"}
    if missing := sorted(set(listed) - set(present)):
        raise BundleError(f"entry {missing[0]} is missing: the bundle is damaged, fetch it again")
    if added := sorted(set(present) - set(listed)):
        raise BundleError(f"entry {added[0]} is not in the manifest: the bundle was changed, fetch it again")
    for name, content in present.items():
        expected = listed[name].get("sha256") if isinstance(listed[name], dict) else None
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise BundleError(
                f"entry {name} is damaged: expected SHA-256 {expected}, found {actual}; fetch the bundle again"
            )
    rebuilt = _manifest(present)
    if manifest != rebuilt:
        raise BundleError(
            f"manifest.json is damaged: expected id {manifest.get('id')}, its content gives {rebuilt['id']}; "
            "fetch the bundle again"
        )


def _bundle(entries: dict[str, bytes]) -> Bundle:
    """Entries, checked against their manifest, to a bundle; every entry has to be one that schema 1 knows."""
    left = dict(entries)

    def take(name: str) -> bytes:
        if name not in left:
            raise BundleError(f"entry {name} is missing from the manifest: this is not a complete bundle")
        return left.pop(name)

    def document(name: str) -> dict[str, Any]:
        return json_from_bytes(name, take(name))

    def under(folder: str) -> dict[str, bytes]:
        return {name.removeprefix(folder): left.pop(name) for name in sorted(left) if name.startswith(folder)}

    def attachment(kind: str) -> Attachment | None:
        if f"{kind}.json" not in left:
            return None
        about = document(f"{kind}.json")
        arrays = {}
        for name, content in under(f"{kind}/").items():
            if not name.endswith(".npy"):
                raise BundleError(f"entry {kind}/{name} is none that schema {SCHEMA} knows")
            arrays[_plain(name.removesuffix(".npy"))] = array_from_bytes(f"{kind}/{name}", content)
        return Attachment(about, arrays)

    about, sensor, metadata = document("encoding.json"), document("sensor.json"), document("models.json")
    kernels, thresholds = (
        array_from_bytes(name, take(name)) for name in ("encoding/kernels.npy", "encoding/thresholds.npy")
    )
    try:
        encoding = Encoding(kernels, thresholds, about.get("pool"), about.get("range"))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise BundleError(f"the encoding is invalid: {error}") from error
    if encoding.id != about.get("id"):
        raise BundleError(f"encoding.json names encoding {about.get('id')}, its arrays are {encoding.id}")
    bundle = Bundle(
        encoding=encoding,
        rows_px=sensor.get("rows_px"),  # type: ignore[arg-type]
        columns_px=sensor.get("columns_px"),  # type: ignore[arg-type]
        models={_plain(name): content for name, content in under("models/").items()},
        metadata=metadata,
        evidence=document("evidence.json"),
        mask=attachment("mask"),
        calibration=attachment("calibration"),
    )
    if left:
        raise BundleError(f"entry {min(left)} is none that schema {SCHEMA} knows")
    return bundle


def _plain(name: str) -> str:
    """A file name without folders, refused otherwise: nothing in a bundle may name a place outside of it."""
    if name in ("", "..") or PurePosixPath(name).name != name or "\\" in name or not name.isprintable():
        raise BundleError(f"{name!r} is not a plain file name")
    return name


def _not_shipped(name: str, shipped: Iterable[str]) -> str:
    """Why a reserved name stands for nothing here. Every version ships the default bundle; the others it may not."""
    if name == NAMES[0]:
        return (
            f"the {name} bundle is missing from this installation, which has {_listed(shipped)}: "
            "install canopic again (pip install --force-reinstall canopic)"
        )
    return (
        f"this installation of canopic ships no {name} bundle: use {_listed(shipped)}, or give the path to a {SUFFIX} "
        f"file (not every version ships one called {name}; pip install --upgrade canopic brings it where a newer does)"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no shipped bundle"
