/*
 * What one side of the desk asks for: a model and its options. A plain value, never changed in place.
 *
 * {model, nms, sigma, iouThreshold, maxDetections, classAgnostic, classes, masks}; null leaves a choice to the model.
 */

/** Asked once per image, low enough that the slider never needs to ask again. */
export const ASKED_THRESHOLD = 0.05;

export const defaults = (model) => ({
  model, nms: "hard", sigma: null, iouThreshold: null, maxDetections: null, classAgnostic: false, classes: [], masks: model.task === "segmentation",
});

/** The options as the service spells them, [name, value] each; what is the model's own choice is left out. */
export function query(settings, threshold) {
  const { model, nms, sigma, iouThreshold, maxDetections, classAgnostic, classes, masks } = settings;
  return [
    ...(model.pinned ? [["version", model.version]] : []),
    ["score_threshold", String(threshold)],
    ...(iouThreshold === null ? [] : [["iou_threshold", String(iouThreshold)]]),
    ...(nms === "hard" ? [] : [["nms", nms]]),
    ...(nms === "soft_gaussian" && sigma !== null ? [["soft_nms_sigma", String(sigma)]] : []),
    ...(classAgnostic ? [["class_agnostic", "true"]] : []),
    ...(maxDetections === null ? [] : [["max_detections", String(maxDetections)]]),
    ...classes.map((label) => ["classes", label]),
    ...(masks && model.task === "segmentation" ? [["masks", "rle"]] : []),
  ];
}

/** Equal for settings that get equal answers. */
export const keyOf = (settings) =>
  JSON.stringify([settings.model.name, settings.model.version, settings.model.digest, query(settings, ASKED_THRESHOLD)]);

/** A few words for a caption: the options that are not the model's own. */
export function inWords(settings) {
  const { nms, sigma, iouThreshold, maxDetections, classAgnostic, classes, model, masks } = settings;
  return [
    nms !== "hard" && nms.replace("_", " "),
    nms === "soft_gaussian" && sigma !== null && `sigma ${sigma.toFixed(1)}`,
    iouThreshold !== null && `overlap ${iouThreshold.toFixed(2)}`,
    maxDetections !== null && `at most ${maxDetections}`,
    classAgnostic && "across classes",
    classes.length && classes.join(", "),
    model.task === "segmentation" && !masks && "no masks",
  ].filter(Boolean).join(" · ");
}
