// --- attention map: one row per token, one column per frame or joint
// Height of a row, and the margins of the map, in pixels.
const STEP = 20, TOP = 6, RIGHT = 66;
// Position of the cells in the canvas, and a copy of the map without the time cursor.
let mapLayout = {};
function drawMap() {
  const track = selectedTrack(), width = track.spans.length, weights = trackWeights[state.track];
  const axisHeight = track.kind === "joints" ? 96 : 24;
  const [context, canvasWidth] = prepareCanvas(byId("map"), TOP + L * STEP + axisHeight);
  const left = Math.min(150, 14 + Math.max(...data.tokens.map((_, l) => context.measureText(tokenLabel(l)).width)));
  const plotWidth = canvasWidth - left - RIGHT, numColumns = track.kind === "joints" ? width : track.frames;
  mapLayout = { left, plotWidth, numColumns };
  const largest = weights.reduce((a, b) => Math.max(a, b), 1e-9);
  for (let l = 0; l < L; l++) {
    const row = weights.subarray(l * width, (l + 1) * width), y = TOP + l * STEP;
    const scale = byId("normalize-rows").checked ? row.reduce((a, b) => Math.max(a, b), 1e-9) : largest;
    for (let n = 0; n < width; n++) {
      const [from, to] = track.kind === "joints" ? [n, n + 1] : track.spans[n];
      context.fillStyle = heatColor(row[n] / scale);
      const x = left + plotWidth * from / numColumns;
      context.fillRect(x, y, Math.max(1, plotWidth * (to - from) / numColumns) + 0.5, STEP - 2);
    }
    context.fillStyle = data.tokens[l].forced ? palette.soft : palette.ink;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.font = (l === state.token ? "600 " : "") + "12px system-ui, sans-serif";
    context.fillText(tokenLabel(l), left - 8, y + STEP / 2 - 1, left - 12);
    context.fillStyle = palette.soft;
    context.font = "11px system-ui, sans-serif";
    context.fillText(formatPercent(motionShare(l)), canvasWidth - 4, y + STEP / 2 - 1);
  }
  context.lineWidth = 2;
  if (state.token >= 0) {
    context.strokeStyle = palette.mark;
    context.strokeRect(left - 1, TOP + state.token * STEP - 1, plotWidth + 2, STEP);
  }
  const axisTop = TOP + L * STEP;
  context.fillStyle = palette.soft;
  if (track.kind === "joints") {
    const scene = findScene(track.stream);
    context.textAlign = "right";
    for (let n = 0; n < width; n++) {
      context.save();
      context.translate(left + plotWidth * (n + 0.5) / width, axisTop + 6);
      context.rotate(-Math.PI / 3);
      context.fillText(jointName(scene, track.joints[n]), 0, 0);
      context.restore();
    }
  } else {
    drawTicks(context, left, plotWidth, track.frames / track.rate, axisTop + 12);
  }
  const columnName = track.kind === "joints" ? "joint" : track.summed > 1 ? `${track.summed} vectors` : track.spans.some(([a, b]) => b - a > 1) ? "vector of several frames" : "frame";
  byId("map-legend").innerHTML = `<span>0${colorScale()}${byId("normalize-rows").checked ? "row maximum" : formatPercent(largest)} per ${columnName}</span><span>Right: total share of attention on the motion</span>`;
  mapLayout.cachedMap = document.createElement("canvas");
  [mapLayout.cachedMap.width, mapLayout.cachedMap.height] = [byId("map").width, byId("map").height];
  mapLayout.cachedMap.getContext("2d").drawImage(byId("map"), 0, 0);
  drawTimeCursor();
}
// Draw the current time on top of the cached map, because drawing all cells in each frame would be too slow.
function drawTimeCursor() {
  const track = selectedTrack(), canvas = byId("map"), context = canvas.getContext("2d");
  if (track.kind === "joints") return;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(mapLayout.cachedMap, 0, 0);
  const ratio = window.devicePixelRatio || 1;
  context.scale(ratio, ratio);
  const x = mapLayout.left + mapLayout.plotWidth * Math.min(1, (currentTime() * track.rate + 0.5) / track.frames);
  context.strokeStyle = palette.mark;
  context.lineWidth = 1;
  context.beginPath(); context.moveTo(x, TOP); context.lineTo(x, TOP + L * STEP); context.stroke();
}
// Draw the labels of a time axis, with at least 46 pixels between two of them.
function drawTicks(context, left, plotWidth, duration, y) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60].find((seconds) => plotWidth / (duration / seconds) > 46) || 120;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let time = 0; time <= duration + 1e-6; time += step) {
    context.fillText(time === 0 ? "0 s" : `${+time.toFixed(1)}`, Math.min(left + plotWidth * time / duration, left + plotWidth - 6), y);
  }
}
