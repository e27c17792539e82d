"use strict";
// Letters: L tokens of the hypothesis, J points, C coordinates, V joints of the encoder.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const decodeBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const decodeShares = (text) => Float32Array.from(new Uint16Array(decodeBase64(text)), (n) => n / 65535);
const formatPercent = (x) => (100 * x).toFixed(x < 0.0995 ? 2 : 1) + " %";
// Coordinate of a point that was not detected.
const MISSING = -32768;
for (const input of [...data.tracks, ...data.groups]) input.weights = decodeShares(input.weights);
for (const scene of data.scenes) {
  scene.points = new Int16Array(decodeBase64(scene.points));
  if (scene.attention) scene.attention.values = decodeShares(scene.attention.values);
}
const L = data.tokens.length;
// The token, layer or head -1 means the mean over all of them.
const state = { token: -1, layer: -1, head: -1, track: 0, frame: 0, playing: false };
const findScene = (stream) => data.scenes.find((scene) => scene.stream === stream) || data.scenes[0];
const timeline = findScene(data.tracks[0].stream)
  ? { rate: findScene(data.tracks[0].stream).rate, frames: findScene(data.tracks[0].stream).shape[0] }
  : { rate: data.tracks[0].rate, frames: data.tracks[0].frames };

// Mean weights of a track or group over the selected layers and heads: L rows of `width` values.
function averageSelected(input, width) {
  const sums = new Float32Array(L * width);
  let count = 0;
  for (let a = 0; a < data.layers; a++) {
    if (state.layer >= 0 && a !== state.layer) continue;
    for (let h = 0; h < data.heads; h++) {
      if (state.head >= 0 && h !== state.head) continue;
      const start = (a * data.heads + h) * L * width;
      for (let i = 0; i < sums.length; i++) sums[i] += input.weights[start + i];
      count++;
    }
  }
  return sums.map((x) => x / count);
}
// For each track and each group, its mean weights over the selected layers and heads.
let trackWeights, groupWeights;
function averageWeights() {
  trackWeights = data.tracks.map((track) => averageSelected(track, track.spans.length));
  groupWeights = data.groups.map((group) => averageSelected(group, 1));
}
// The row of the selected token, or the mean over all tokens.
function selectTokenRow(values, width) {
  if (state.token >= 0) return values.subarray(state.token * width, (state.token + 1) * width);
  const mean = new Float32Array(width);
  for (let l = 0; l < L; l++) for (let n = 0; n < width; n++) mean[n] += values[l * width + n] / L;
  return mean;
}
const sum = (values) => values.reduce((a, b) => a + b, 0);
// Share of the attention of token `l` on the motion, that is, on all tracks.
const motionShare = (l) => data.tracks.reduce((total, track, k) =>
  total + sum(trackWeights[k].subarray(l * track.spans.length, (l + 1) * track.spans.length)), 0);
const selectedTrack = () => data.tracks[state.track];
const currentTime = () => state.frame / timeline.rate;
// Index of the frame of a track or scene at a time in seconds.
const frameAt = (input, seconds) => Math.min(Math.floor(seconds * input.rate + 1e-6), (input.frames || input.shape[0]) - 1);
const jointName = (scene, joint) => scene ? scene.names[joint].replaceAll("_", " ") : `joint ${joint}`;
const tokenLabel = (l) => data.tokens[l].text.trim() || "␣";

const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let palette = {};
function readPalette() {
  for (const name of ["paper", "card", "ink", "soft", "line", "hot", "mark", "left", "right", "middle"]) palette[name] = cssVariable("--" + name);
  palette.heat = Array.from({ length: 256 }, (_, n) => mixColors(palette.paper, palette.hot, n / 255));
}
const parseColor = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function mixColors(from, to, share) {
  const [a, b] = [parseColor(from), parseColor(to)];
  return `rgb(${a.map((x, i) => Math.round(x + (b[i] - x) * share)).join(",")})`;
}
const heatColor = (share) => palette.heat[Math.round(255 * Math.min(1, Math.max(0, share)))];
const colorScale = () => `<span class="ramp" style="background: linear-gradient(90deg, ${[0, 1].map(heatColor).join(",")})"></span>`;
// Clear a canvas at the resolution of the screen; return its context, width and height.
function prepareCanvas(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  if (height) canvas.style.height = height + "px";
  const width = canvas.clientWidth, canvasHeight = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(canvasHeight * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, canvasHeight);
  context.font = "12px system-ui, sans-serif";
  return [context, width, canvasHeight];
}
