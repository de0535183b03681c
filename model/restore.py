"""A bundle -> the eager torchvision model with the very weights the bundle serves, for parity and fine-tuning."""

from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torchvision.models.detection import FasterRCNN

from model import architectures
from model.architectures import set_trunk_eps
from model.export import learn_pool_scales
from model.recipes import RECIPES, Recipe
from service.bundle import Bundle, Manifest

# Where the modules of model/graph.py sit in a torchvision model.
_PREFIXES = {
    "detector.onnx": {"backbone.": "backbone.", "rpn.": "rpn.", "heads.": "roi_heads."},
    "mask_head.onnx": {"head.": "roi_heads.mask_head.", "predictor.": "roi_heads.mask_predictor."},
    "keypoint_head.onnx": {"head.": "roi_heads.keypoint_head.", "predictor.": "roi_heads.keypoint_predictor."},
}


def build_for(recipe: Recipe, num_classes: int) -> FasterRCNN:
    """An untrained model that proposes, suppresses and cuts off as recipe's bundle does."""
    return architectures.build(recipe.architecture, num_classes, **model_options(recipe))


def model_options(recipe: Recipe) -> dict[str, Any]:
    """The keywords of architectures.build for recipe's model."""
    return {
        "rpn_pre_nms_top_n_test": recipe.proposals,
        "rpn_post_nms_top_n_test": recipe.proposals,
        "box_detections_per_img": recipe.postprocess["max_detections"],
        "box_nms_thresh": recipe.postprocess["iou_threshold"],
        **recipe.model_options,
    }


def restore(bundle: Bundle) -> FasterRCNN:
    """The eager model of a bundle, in eval mode. Raises KeyError if a graph lacks one of its weights."""
    model = _untrained(bundle.manifest)
    state = model.state_dict()
    found = _weights(bundle)
    missing = [name for name in state if name not in found and not name.endswith("num_batches_tracked")]
    if missing:
        raise KeyError(f"{bundle.root} has no {missing[0]} and {len(missing) - 1} more weights")
    model.load_state_dict(state | {name: found[name] for name in state if name in found})
    learn_pool_scales(model)
    return model


def _untrained(manifest: Manifest) -> FasterRCNN:
    num_classes = len(manifest.labels) + 1
    built = manifest.provenance.get("build")
    if built is None:  # a bundle of before this was kept: the recipe of its name says how
        return build_for(RECIPES[manifest.name], num_classes)
    model = architectures.build(manifest.architecture, num_classes, **built["options"])
    set_trunk_eps(model, built["trunk_eps"])
    return model


def _weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Every weight of the bundle's graphs, by its name in a torchvision model."""
    found = {}
    for file, prefixes in _PREFIXES.items():
        if file not in bundle.manifest.files:
            continue
        for name, value in _initializers(onnx.load(str(bundle.path(file))).graph).items():
            for prefix, place in prefixes.items():
                if name.startswith(prefix):
                    found[place + name.removeprefix(prefix)] = value
    return found


def _initializers(graph: onnx.GraphProto) -> dict[str, torch.Tensor]:
    """The graph's weights by their traced names; the exporter keeps one of equal ones and points to it by Identity."""
    values = {
        weight.name.removesuffix("_fp16"): torch.from_numpy(numpy_helper.to_array(weight).copy()).float()
        for weight in graph.initializer
        if weight.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }
    twins = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    return values | {twin: values[kept] for twin, kept in twins.items() if kept in values}
