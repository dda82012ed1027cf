// Three drawings to begin with.

import { point } from "./sketch.js";
import type { Stroke } from "./sketch.js";

type Place = readonly [x: number, y: number];

export interface Example {
  readonly name: string;
  readonly strokes: readonly Stroke[];
}

const WIDTH = 4;

/** Straight lines from place to place. */
function lines(...places: Place[]): Stroke {
  return { width: WIDTH, points: places.map(([x, y]) => point(x, y, 0.5)) };
}

/** A smooth curve through the places (Catmull-Rom), as a hand draws it: a point every few units. */
function curve(...places: Place[]): Stroke {
  const at = (index: number): Place => places[Math.min(places.length - 1, Math.max(0, index))] ?? [0, 0];
  const points = places.slice(1).flatMap((_, index) => {
    const [a, b, c, d] = [at(index - 1), at(index), at(index + 1), at(index + 2)];
    const n = Math.max(1, Math.round(Math.hypot(c[0] - b[0], c[1] - b[1]) / 8));
    const mixed = (t: number, axis: 0 | 1): number =>
      b[axis] +
      (t / 2) * (c[axis] - a[axis] + t * (2 * a[axis] - 5 * b[axis] + 4 * c[axis] - d[axis] + t * (3 * (b[axis] - c[axis]) + d[axis] - a[axis])));
    return Array.from({ length: n }, (_, step) => point(mixed((step + 1) / n, 0), mixed((step + 1) / n, 1), 0.5));
  });
  const [x, y] = at(0);
  return { width: WIDTH, points: [point(x, y, 0.5), ...points] };
}

function circle(x: number, y: number, radius: number): Stroke {
  const turn = (step: number): Place => {
    const angle = (step / 16) * 2 * Math.PI;
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  };
  return { width: WIDTH, points: Array.from({ length: 17 }, (_, step) => turn(step)).map(([px, py]) => point(px, py, 0.5)) };
}

const SHOE: readonly Stroke[] = [
  curve([72, 338], [66, 268], [76, 204], [102, 172]),
  curve([102, 172], [128, 196], [168, 196], [206, 160]),
  curve([206, 160], [246, 214], [306, 258], [372, 274], [430, 296], [450, 340]),
  lines([66, 338], [452, 342]),
  curve([66, 338], [60, 360], [72, 376], [96, 378], [250, 380], [420, 380], [448, 372], [452, 342]),
  lines([228, 196], [204, 224]),
  lines([254, 222], [230, 252]),
  lines([284, 244], [262, 276]),
  curve([374, 276], [352, 300], [348, 322], [352, 340]),
  curve([72, 270], [104, 274], [124, 300], [126, 338]),
];

const CHAIR: readonly Stroke[] = [
  lines([158, 60], [170, 290]),
  lines([158, 60], [304, 48]),
  lines([304, 48], [312, 262]),
  lines([164, 122], [306, 108]),
  lines([166, 186], [308, 170]),
  lines([170, 290], [312, 262], [392, 308], [236, 344], [170, 290]),
  lines([170, 292], [164, 430]),
  lines([236, 346], [236, 476]),
  lines([390, 312], [398, 436]),
  lines([318, 330], [322, 394]),
];

const SHIP: readonly Stroke[] = [
  lines([50, 318], [468, 306], [410, 418], [120, 420], [50, 318]),
  lines([136, 315], [136, 252], [344, 248], [346, 309]),
  lines([172, 251], [172, 200], [306, 198], [306, 248]),
  lines([212, 199], [216, 118], [264, 118], [268, 198]),
  lines([215, 146], [265, 146]),
  circle(160, 362, 14),
  circle(228, 361, 14),
  circle(296, 360, 14),
  circle(364, 358, 14),
  lines([392, 308], [392, 176]),
  lines([392, 178], [432, 194], [392, 210]),
  curve([30, 440], [74, 424], [118, 442], [164, 426], [210, 444], [258, 428], [306, 444], [354, 428], [402, 442], [446, 426], [486, 438]),
];

export const EXAMPLES: readonly Example[] = [
  { name: "a shoe", strokes: SHOE },
  { name: "a chair", strokes: CHAIR },
  { name: "a ship", strokes: SHIP },
];
