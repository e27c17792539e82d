// --- attention map: one row per token, one column per frame or joint
const STEP = 20, TOP = 6, RIGHT = 66;
let mapLayout = {};
function drawMap() {
  const track = selectedTrack(), width = track.spans.length, values = tracks[state.track];
  const axisHeight = track.kind === "joints" ? 96 : 24;
  const [pen, canvasWidth] = prepareCanvas(byId("map"), TOP + L * STEP + axisHeight);
  const left = Math.min(150, 14 + Math.max(...data.tokens.map((_, l) => pen.measureText(label(l)).width)));
  const plotWidth = canvasWidth - left - RIGHT, unit = track.kind === "joints" ? width : track.frames;
  mapLayout = { left, plotWidth, unit };
  const largest = values.reduce((a, b) => Math.max(a, b), 1e-9);
  for (let l = 0; l < L; l++) {
    const line = values.subarray(l * width, (l + 1) * width), y = TOP + l * STEP;
    const scale = byId("rows").checked ? line.reduce((a, b) => Math.max(a, b), 1e-9) : largest;
    for (let n = 0; n < width; n++) {
      const [from, to] = track.kind === "joints" ? [n, n + 1] : track.spans[n];
      pen.fillStyle = heat(line[n] / scale);
      const x = left + plotWidth * from / unit;
      pen.fillRect(x, y, Math.max(1, plotWidth * (to - from) / unit) + 0.5, STEP - 2);
    }
    pen.fillStyle = data.tokens[l].forced ? palette.soft : palette.ink;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.font = (l === state.token ? "600 " : "") + "12px system-ui, sans-serif";
    pen.fillText(label(l), left - 8, y + STEP / 2 - 1, left - 12);
    pen.fillStyle = palette.soft;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(percent(motionShare(l)), canvasWidth - 4, y + STEP / 2 - 1);
  }
  pen.lineWidth = 2;
  if (state.token >= 0) {
    pen.strokeStyle = palette.mark;
    pen.strokeRect(left - 1, TOP + state.token * STEP - 1, plotWidth + 2, STEP);
  }
  const axisTop = TOP + L * STEP;
  pen.fillStyle = palette.soft;
  if (track.kind === "joints") {
    const scene = findScene(track.stream);
    pen.textAlign = "right";
    for (let n = 0; n < width; n++) {
      pen.save();
      pen.translate(left + plotWidth * (n + 0.5) / width, axisTop + 6);
      pen.rotate(-Math.PI / 3);
      pen.fillText(jointName(scene, track.joints[n]), 0, 0);
      pen.restore();
    }
  } else {
    ticks(pen, left, plotWidth, track.frames / track.rate, axisTop + 12);
  }
  const what = track.kind === "joints" ? "joint" : track.summed > 1 ? `${track.summed} vectors` : track.spans.some(([a, b]) => b - a > 1) ? "vector of several frames" : "frame";
  byId("map-legend").innerHTML = `<span>0${ramp()}${byId("rows").checked ? "row maximum" : percent(largest)} per ${what}</span><span>Right: total share of attention on the motion</span>`;
  mapLayout.drawn = document.createElement("canvas");
  [mapLayout.drawn.width, mapLayout.drawn.height] = [byId("map").width, byId("map").height];
  mapLayout.drawn.getContext("2d").drawImage(byId("map"), 0, 0);
  drawTimeCursor();
}
// Draw the current time on top of the cached map, because drawing all cells in each frame would be too slow.
function drawTimeCursor() {
  const track = selectedTrack(), canvas = byId("map"), pen = canvas.getContext("2d");
  if (track.kind === "joints") return;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(mapLayout.drawn, 0, 0);
  const ratio = window.devicePixelRatio || 1;
  pen.scale(ratio, ratio);
  const x = mapLayout.left + mapLayout.plotWidth * Math.min(1, (second() * track.rate + 0.5) / track.frames);
  pen.strokeStyle = palette.mark;
  pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, TOP + L * STEP); pen.stroke();
}
function ticks(pen, left, plotWidth, seconds, y) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((s) => plotWidth / (seconds / s) > 46) || 120;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let s = 0; s <= seconds + 1e-6; s += step) {
    pen.fillText(s === 0 ? "0 s" : `${+s.toFixed(1)}`, Math.min(left + plotWidth * s / seconds, left + plotWidth - 6), y);
  }
}
