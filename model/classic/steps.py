"""The steps a classic Faster R-CNN may be trained in (model/classic/faster_rcnn.py says what each does)."""

from typing import Literal, get_args

Step = Literal["joint", "rpn", "detector", "rpn_shared", "detector_shared"]
STEPS: tuple[Step, ...] = get_args(Step)
FOUR_STEPS: tuple[Step, ...] = ("rpn", "detector", "rpn_shared", "detector_shared")
