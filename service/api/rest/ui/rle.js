/*
 * COCO compressed run-length masks, without ever holding a whole image per mask.
 *
 * A mask is {size: [height, width], counts: string}. Its runs alternate background, foreground,
 * background ... down the columns, left to right.
 */

/** The run lengths in `counts`: 5 bits a character from "0" up, low bits first, each a difference from the run two before. */
export function runs(counts) {
  const lengths = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = counts.charCodeAt(at++) - 48;
      value |= (bits & 0x1f) << shift;
      shift += 5;
    } while (bits & 0x20 && at < counts.length);
    if (bits & 0x10 && shift < 32) value |= -1 << shift;
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    lengths.push(value);
  }
  return lengths;
}

/**
 * The smallest rectangle around the mask's foreground, and the pixels in it.
 *
 * Returns {x, y, width, height, bits, area} with bits a row-major Uint8Array of 0 and 1, or null for an empty mask.
 */
export function crop({ size: [imageHeight, imageWidth], counts }) {
  const spans = []; // start, end in column-major pixels
  let left = imageWidth, right = -1, top = imageHeight, bottom = -1, area = 0;
  let position = 0;
  runs(counts).forEach((length, i) => {
    const start = position;
    position += length;
    if (i % 2 === 0 || length <= 0 || position > imageHeight * imageWidth) return;
    const firstColumn = Math.floor(start / imageHeight);
    const lastColumn = Math.floor((position - 1) / imageHeight);
    const wraps = lastColumn > firstColumn;
    left = Math.min(left, firstColumn);
    right = Math.max(right, lastColumn);
    top = Math.min(top, wraps ? 0 : start - firstColumn * imageHeight);
    bottom = Math.max(bottom, wraps ? imageHeight - 1 : position - 1 - lastColumn * imageHeight);
    area += length;
    spans.push(start, position);
  });
  if (right < 0) return null;

  const width = right - left + 1;
  const height = bottom - top + 1;
  const bits = new Uint8Array(width * height);
  for (let s = 0; s < spans.length; s += 2) {
    let column = Math.floor(spans[s] / imageHeight);
    let row = spans[s] - column * imageHeight;
    for (let p = spans[s]; p < spans[s + 1]; p++) {
      bits[(row - top) * width + (column - left)] = 1;
      if (++row === imageHeight) { row = 0; column++; }
    }
  }
  return { x: left, y: top, width, height, bits, area };
}

/**
 * The mask's outline as a Path2D in image pixels, holes included (fill it with "evenodd").
 *
 * Walks the pixel edges with the mask on the right hand and joins the middles of the edges, which rounds the
 * staircase and stays sharp at any zoom, where a scaled bitmap would blur.
 */
export function outline({ x, y, width, height, bits }) {
  const inside = (column, row) => column >= 0 && row >= 0 && column < width && row < height && bits[row * width + column] === 1;
  const walked = new Uint8Array(width * height); // top edges already on some contour
  const path = new Path2D();
  const stepX = [1, 0, -1, 0]; // east, south, west, north
  const stepY = [0, 1, 0, -1];
  // The pixel ahead on the right of each direction, from the vertex; the one on the left is that of the direction before.
  const rightX = [0, -1, -1, 0];
  const rightY = [0, 0, -1, -1];

  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const index = row * width + column;
      if (!bits[index] || walked[index] || inside(column, row - 1)) continue;
      let vx = column, vy = row, direction = 0;
      let lastX = 0, lastY = 0, lastDx = NaN, lastDy = NaN, started = false;
      do {
        if (direction === 0) walked[vy * width + vx] = 1;
        const mx = x + vx + stepX[direction] / 2;
        const my = y + vy + stepY[direction] / 2;
        if (!started) {
          path.moveTo(mx, my);
          started = true;
        } else {
          const dx = mx - lastX, dy = my - lastY;
          if (dx !== lastDx || dy !== lastDy) path.lineTo(lastX, lastY);
          lastDx = dx; lastDy = dy;
        }
        lastX = mx; lastY = my;
        vx += stepX[direction];
        vy += stepY[direction];
        if (!inside(vx + rightX[direction], vy + rightY[direction])) {
          direction = (direction + 1) % 4;
        } else {
          const left = (direction + 3) % 4;
          if (inside(vx + rightX[left], vy + rightY[left])) direction = left;
        }
      } while (vx !== column || vy !== row || direction !== 0);
      path.lineTo(lastX, lastY);
      path.closePath();
    }
  }
  return path;
}
