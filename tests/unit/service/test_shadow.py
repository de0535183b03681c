"""Questions as the candidate is asked them."""

from hypothesis import given
from hypothesis import strategies as st

from service.api.rest.wishes import read_query
from service.detections import DetectOptions
from service.shadow import to_query

ratios = st.none() | st.floats(0, 1)
labels = st.sampled_from(["cell", "platelet", "a b"])


@given(
    st.builds(
        DetectOptions,
        score_threshold=ratios,
        class_score_thresholds=st.dictionaries(labels, st.floats(0, 1)),
        iou_threshold=ratios,
        tta=st.sampled_from([(), ("flip",), ("scale",), ("flip", "scale")]),
        nms=st.sampled_from(["hard", "soft_linear", "soft_gaussian"]),
        soft_nms_sigma=st.none() | st.floats(0.1, 10),
        class_agnostic=st.booleans(),
        max_detections=st.none() | st.integers(1, 100),
        classes=st.lists(labels, unique=True).map(tuple),
        masks=st.sampled_from(["none", "rle", "polygon", "png", "raw"]),
    )
)
def test_the_candidate_reads_the_very_options_the_client_chose(options: DetectOptions) -> None:
    sent = [(name, str(value)) for name, value in to_query(options)]
    assert read_query(sent).to_values() == options
