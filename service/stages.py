"""What is done with one image in threads: decoding and preprocessing before the engine, finishing after it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import Manifest
from service.detections import Detections, Keypoints, MaskFormat, NmsOptions
from service.detector import Found
from service.images import Limits, decode
from service.postprocess.boxes import Picked
from service.postprocess.finish import finish as as_detections
from service.postprocess.fusion import Shown, fuse
from service.postprocess.keypoints import locate
from service.preprocess import Geometry, to_canvas
from service.proposals import Box, regions_on_canvas
from service.views import View, mirrored


@dataclass(frozen=True)
class Canvas:
    """One view of an image, as an engine takes it."""

    pixels: NDArray[np.uint8]  # (H, W, 3)
    geometry: Geometry
    regions: NDArray[np.float32] | None  # (P, 4) canvas pixels, of a model that takes proposals


def prepare(
    picture: bytes | NDArray[np.uint8],
    limits: Limits,
    manifest: Manifest,
    proposals: tuple[Box, ...],
    views: Sequence[View],
) -> tuple[list[Canvas], float]:
    """Every view of the picture on its canvas, and the seconds that took beside decoding."""
    image = picture if isinstance(picture, np.ndarray) else decode(picture, limits)  # (H, W, 3) uint8 RGB
    start, canvases = time.perf_counter(), []
    for view in views:
        pixels, geometry = to_canvas(image, manifest.preprocess, view)
        regions = regions_on_canvas(manifest.proposals, proposals, geometry.image_hw, geometry.resized_hw)
        if regions is not None and view.is_mirrored:
            regions = mirrored(regions, geometry.resized_hw[1])
        canvases.append(Canvas(pixels, geometry, regions))
    return canvases, time.perf_counter() - start


def finish(
    found: Sequence[Found],
    geometries: Sequence[Geometry],
    nms: NmsOptions,
    manifest: Manifest,
    mask_format: MaskFormat,
    max_mask_bytes: int,
) -> Detections:
    """What was found in each view, in pixels of the image and as one. Raises AnswerTooLarge."""
    shown = [_in_image_pixels(one, geometry) for one, geometry in zip(found, geometries, strict=True)]
    one = shown[0] if len(shown) == 1 else fuse(shown, nms)
    keypoints = _keypoints(found[0], geometries[0], manifest)
    return as_detections(
        one.picked,
        one.probabilities,
        geometries[0].image_hw,
        manifest.labels,
        mask_format,
        max_mask_bytes,
        keypoints,
    )


def _in_image_pixels(found: Found, geometry: Geometry) -> Shown:
    picked, grids = found.picked, found.probabilities
    boxes_xyxy = geometry.to_image_pixels(picked.boxes_xyxy)
    if grids is not None and geometry.is_mirrored:
        grids = grids[:, :, ::-1]
    return Shown(Picked(boxes_xyxy, picked.scores, picked.label_ids), grids)


def _keypoints(found: Found, geometry: Geometry, manifest: Manifest) -> Keypoints | None:
    skeleton = manifest.keypoints
    if found.heatmaps is None or skeleton is None:
        return None
    points_xys = locate(found.heatmaps, found.picked.boxes_xyxy, len(skeleton.names))
    points_xys[..., :2] = geometry.points_to_image_pixels(points_xys[..., :2])
    return Keypoints(points_xys, skeleton.names, skeleton.limbs)
