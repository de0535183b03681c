"""What the story asks of a cluster before it begins."""

import pytest

from deploy.e2e.kubernetes import Object, Unexpected, require_image
from tests.unit.deploy.e2e.test_engines import AnswersFrom

NODES: dict[str, Object] = {"/api/v1/nodes": {"items": [{"status": {"images": [{"names": ["localhost/rcnn:0.1.0"]}]}}]}}


def test_an_image_that_no_node_has_is_said_before_the_story_and_how_to_bring_it() -> None:
    with pytest.raises(Unexpected, match=r"localhost/rcnn:0.2.0 \(`make image cluster-load` brings it there\)"):
        require_image(AnswersFrom(NODES), "localhost/rcnn:0.2.0", limit_s=0)


def test_an_image_that_a_node_has_is_taken() -> None:
    require_image(AnswersFrom(NODES), "localhost/rcnn:0.1.0", limit_s=0)
