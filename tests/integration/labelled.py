"""A shipped bundle's golden images as a labelled dataset, and bundles made worse on purpose."""

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from service.bundle import read_bundle, write_bundle


def golden_dataset(bundle_root: Path, root: Path) -> Path:
    """The golden images as a COCO dataset in root; the expected detections are the truth."""
    (root / "images").mkdir()
    bundle = read_bundle(bundle_root)
    labels = bundle.manifest.labels
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 10 * index, "name": label} for index, label in enumerate(labels)],
    }
    for number, name in enumerate(bundle.golden_images()):
        path = root / "images" / Path(name).name
        shutil.copyfile(bundle.path(name), path)
        with Image.open(path) as picture:
            width, height = picture.size
        document["images"].append({"id": number, "file_name": path.name, "width": width, "height": height})
        for row in json.loads(bundle.path(f"{name}.json").read_text())["detections"]:
            x1, y1, x2, y2 = row["box"]
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": 10 * labels.index(row["label"])}
            document["annotations"].append({**box, "id": len(document["annotations"]), "image_id": number})
    (root / "val.json").write_text(json.dumps(document))
    return root


def altered(bundle_root: Path, root: Path, **changes: Any) -> Path:
    """A copy of the bundle without golden images, with parts of its manifest replaced."""
    source = read_bundle(bundle_root)
    shutil.copytree(source.root, root)
    shutil.rmtree(root / "golden")
    manifest = source.manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    merged = {name: manifest[name] | value if isinstance(value, dict) else value for name, value in changes.items()}
    write_bundle(root, manifest | merged)
    return root
