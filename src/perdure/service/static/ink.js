// From strokes to the 28×28 picture that the model sees: scaled, centred and drawn like the characters of Omniglot.

export const SIDE = 28;
const PAPER = 105; // pixels of an Omniglot drawing
const EXTENT = 68; // of the larger side of a character on it, the median
const PEN = 4.2; // width of its lines
const SMALLEST = 0.15; // part of the sheet that counts as a whole character: a dot stays small

const paper = document.createElement("canvas");
paper.width = paper.height = PAPER;
const pen = paper.getContext("2d", { willReadFrequently: true });

/** Draw strokes, lists of [x, y], smoothly. */
export function trace(context, strokes, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    if (points.length < 3) context.lineTo(...points.at(-1));
    for (let n = 1; n < points.length - 1; n += 1) {
      const [x, y] = points[n], [nextX, nextY] = points[n + 1];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    if (points.length > 2) context.lineTo(...points.at(-1));
    context.stroke();
  }
}

/** Return strokes on a sheet of side 1 as 784 bytes, row by row, ink bright; null if there is no ink. */
export function picture(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [xs, ys] = [points.map((it) => it[0]), points.map((it) => it[1])];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = EXTENT / Math.max(right - left, bottom - top, SMALLEST);
  const [dx, dy] = [PAPER / 2 - (scale * (left + right)) / 2, PAPER / 2 - (scale * (top + bottom)) / 2];
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, PAPER, PAPER);
  pen.strokeStyle = "#fff";
  trace(pen, strokes.map((stroke) => stroke.map(([x, y]) => [scale * x + dx, scale * y + dy])), PEN);
  const bytes = pen.getImageData(0, 0, PAPER, PAPER).data;
  const grey = Float32Array.from({ length: PAPER * PAPER }, (_, n) => bytes[4 * n]);
  return Uint8Array.from(shrunk(grey), (it) => Math.min(255, Math.round(it)));
}

const weights = Array.from({ length: SIDE }, (_, place) => {
  const scale = PAPER / SIDE, centre = (place + 0.5) * scale;
  const row = Array.from({ length: PAPER }, (_, x) => Math.max(0, 1 - Math.abs(x + 0.5 - centre) / scale));
  const sum = row.reduce((a, b) => a + b);
  return row.map((it) => it / sum);
});

/** Make a picture smaller with a triangular filter, as the data set was made smaller: first its rows, then columns. */
function shrunk(grey) {
  const rows = new Float32Array(PAPER * SIDE), small = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < PAPER; y += 1)
    for (let to = 0; to < SIDE; to += 1)
      for (let x = 0; x < PAPER; x += 1) rows[y * SIDE + to] += weights[to][x] * grey[y * PAPER + x];
  for (let to = 0; to < SIDE; to += 1)
    for (let y = 0; y < PAPER; y += 1)
      for (let x = 0; x < SIDE; x += 1) small[to * SIDE + x] += weights[to][y] * rows[y * SIDE + x];
  return small;
}

const encoded = (bytes) => btoa(String.fromCharCode(...bytes));
export const decoded = (text) => Uint8Array.from(atob(text), (it) => it.charCodeAt(0));

/** Return a picture as a row: a drawing if the model learns features of drawings, else a column for each pixel. */
export function rowOf(pixels, model) {
  if (model.features) return { drawing: encoded(pixels) };
  return Object.fromEntries(Array.from(pixels, (it, n) => [`p${n}`, it / 255]));
}

/** Return the picture in a row, null if there is none. */
export function pictureIn(x) {
  if (typeof x.drawing === "string") return decoded(x.drawing);
  if (!("p0" in x && "p783" in x)) return null;
  return Uint8Array.from({ length: SIDE * SIDE }, (_, n) => Math.round(255 * (x[`p${n}`] ?? 0)));
}

/** Return a picture on a small canvas, dark on clear; CSS turns it round where the page is dark. */
export function thumbnail(pixels, side = SIDE, canvas = document.createElement("canvas")) {
  canvas.width = canvas.height = side;
  canvas.classList.add("ink");
  const image = new ImageData(side, side);
  pixels.forEach((it, n) => { image.data[4 * n + 3] = it; });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
