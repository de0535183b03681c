/* Colours told apart on dark and bright pictures alike, neighbours in the list far apart in hue. */

const COLOURS = [
  "#ff5d6c", "#2fc4b2", "#ffb02e", "#5b8cff", "#b07cff", "#74d13f",
  "#ff7ac6", "#22b8f0", "#ff8a3d", "#d6d333", "#8f9bff", "#3fd98b",
];

/** The colour of a label, the same in every image. */
export const labelColour = (index) => COLOURS[index % COLOURS.length];

/** The colour of the n-th instance, for models with one label only: touching objects should differ. */
export const instanceColour = (n) => COLOURS[(n * 5) % COLOURS.length];

/** `#rrggbb` with an opacity of 0 to 1. */
export const fade = (colour, opacity) => colour + Math.round(opacity * 255).toString(16).padStart(2, "0");

/** Black or white, whichever reads better on the colour. */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#0b0f14" : "#ffffff";
}
