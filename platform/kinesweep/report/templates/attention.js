"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
const shares = (text) => Float32Array.from(new Uint16Array(bytes(text)), (n) => n / 65535);
const percent = (x) => (100 * x).toFixed(x < 0.0995 ? 2 : 1) + " %";
const MISSING = -32768;
for (const part of [...data.tracks, ...data.groups]) part.weights = shares(part.weights);
for (const scene of data.scenes) {
  scene.points = new Int16Array(bytes(scene.points));
  if (scene.attention) scene.attention.values = shares(scene.attention.values);
}
const L = data.tokens.length;
const state = { token: -1, layer: -1, head: -1, track: 0, frame: 0, playing: false };
const findScene = (stream) => data.scenes.find((scene) => scene.stream === stream) || data.scenes[0];
const timeline = findScene(data.tracks[0].stream)
  ? { rate: findScene(data.tracks[0].stream).rate, frames: findScene(data.tracks[0].stream).shape[0] }
  : { rate: data.tracks[0].rate, frames: data.tracks[0].frames };

// Weights of the selected layer and head, or the mean over them: L rows of `width`.
function averageSelected(part, width) {
  const out = new Float32Array(L * width);
  let count = 0;
  for (let a = 0; a < data.layers; a++) {
    if (state.layer >= 0 && a !== state.layer) continue;
    for (let h = 0; h < data.heads; h++) {
      if (state.head >= 0 && h !== state.head) continue;
      const start = (a * data.heads + h) * L * width;
      for (let i = 0; i < out.length; i++) out[i] += part.weights[start + i];
      count++;
    }
  }
  return out.map((x) => x / count);
}
let tracks, groups;
function compute() {
  tracks = data.tracks.map((track) => averageSelected(track, track.spans.length));
  groups = data.groups.map((group) => averageSelected(group, 1));
}
// Weights of the selected token, or the mean over all tokens.
function tokenWeights(values, width) {
  if (state.token >= 0) return values.subarray(state.token * width, (state.token + 1) * width);
  const mean = new Float32Array(width);
  for (let l = 0; l < L; l++) for (let n = 0; n < width; n++) mean[n] += values[l * width + n] / L;
  return mean;
}
const sum = (values) => values.reduce((a, b) => a + b, 0);
const motionShare = (l) => data.tracks.reduce((total, track, k) =>
  total + sum(tracks[k].subarray(l * track.spans.length, (l + 1) * track.spans.length)), 0);
const selectedTrack = () => data.tracks[state.track];
const second = () => state.frame / timeline.rate;
const frameAt = (other, s) => Math.min(Math.floor(s * other.rate + 1e-6), (other.frames || other.shape[0]) - 1);
const jointName = (scene, joint) => scene ? scene.names[joint].replaceAll("_", " ") : `joint ${joint}`;
const label = (l) => data.tokens[l].text.trim() || "␣";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let palette = {};
function theme() {
  for (const name of ["paper", "card", "ink", "soft", "line", "hot", "mark", "left", "right", "middle"]) palette[name] = css("--" + name);
  palette.heat = Array.from({ length: 256 }, (_, n) => mix(palette.paper, palette.hot, n / 255));
}
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function mix(from, to, share) {
  const [a, b] = [rgb(from), rgb(to)];
  return `rgb(${a.map((x, i) => Math.round(x + (b[i] - x) * share)).join(",")})`;
}
const heat = (share) => palette.heat[Math.round(255 * Math.min(1, Math.max(0, share)))];
const ramp = () => `<span class="ramp" style="background: linear-gradient(90deg, ${[0, 1].map(heat).join(",")})"></span>`;
function prepareCanvas(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  if (height) canvas.style.height = height + "px";
  const width = canvas.clientWidth, canvasHeight = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(canvasHeight * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, canvasHeight);
  pen.font = "12px system-ui, sans-serif";
  return [pen, width, canvasHeight];
}
