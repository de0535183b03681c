/* Where two answers about one picture agree. */

const SAME_OVERLAP = 0.5;

/**
 * Pairs detections of a and b of equal label, best overlap first, from an IoU of 0.5 up. Each list is [{label, box}].
 *
 * Returns {both, onlyA, onlyB, agreed}: how many pairs, how many left on either side, and the set of all that have a partner.
 */
export function agreement(a, b) {
  const pairs = [];
  for (const one of a) {
    for (const other of b) {
      if (one.label !== other.label) continue;
      const overlap = iou(one.box, other.box);
      if (overlap >= SAME_OVERLAP) pairs.push({ one, other, overlap });
    }
  }
  pairs.sort((p, q) => q.overlap - p.overlap);
  const agreed = new Set();
  for (const { one, other } of pairs) {
    if (agreed.has(one) || agreed.has(other)) continue;
    agreed.add(one).add(other);
  }
  const both = agreed.size / 2;
  return { both, onlyA: a.length - both, onlyB: b.length - both, agreed };
}

/** Intersection over union of two [x1, y1, x2, y2] boxes. */
export function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  return (width * height) / (area(a) + area(b) - width * height);
}
