// --- the skeleton
// The joints in the canvas with their positions, for the tooltip.
let drawnJoints = [];
function drawSkeleton() {
  const track = selectedTrack(), scene = findScene(track.stream);
  if (!scene) return;
  const [context, canvasWidth, canvasHeight] = prepareCanvas(byId("skeleton"));
  const [, J, C] = scene.shape, views = scene.flat ? [[0, ""]] : [[0, "front"], [2, "side"]];
  const frame = frameAt(scene, currentTime()), storedFrame = Math.floor(frame / scene.every), coordinate = (j, c) => scene.points[(storedFrame * J + j) * C + c];
  const bounds = boundingBox(scene), extents = views.map(([axis]) => bounds[axis][1] - bounds[axis][0]);
  const extentY = bounds[1][1] - bounds[1][0];
  const scale = Math.min((canvasWidth - 20) / (sum(extents) * 1.06), (canvasHeight - 54) / extentY);
  const jointAttention = findJointAttention(track, scene, frame);
  const gap = (canvasWidth - sum(extents) * scale) / (views.length + 1), isDense = J > 60;
  const frameShare = currentFrameShare();
  if (frameShare !== null) {
    const largest = selectTokenRow(trackWeights[state.track], track.spans.length).reduce((a, b) => Math.max(a, b), 1e-9);
    context.fillStyle = palette.line;
    context.fillRect(0, canvasHeight - 5, canvasWidth, 4);
    context.fillStyle = palette.hot;
    context.fillRect(0, canvasHeight - 5, canvasWidth * frameShare / largest, 4);
  }
  drawnJoints = [];
  let left = gap;
  context.lineCap = "round";
  views.forEach(([axis, title], v) => {
    const x = (j) => left + (coordinate(j, axis) - bounds[axis][0]) * scale;
    const y = (j) => 28 + (canvasHeight - 54 - extentY * scale) / 2 + (coordinate(j, 1) - bounds[1][0]) * scale;
    const color = (j) => palette[["left", "middle", "right"][scene.sides[j] + 1]];
    context.lineWidth = isDense ? 1.5 : 3.5;
    for (const [child, parent] of scene.bones) {
      if (coordinate(child, 0) === MISSING || coordinate(parent, 0) === MISSING) continue;
      context.globalAlpha = jointAttention ? 0.5 : 1;
      context.strokeStyle = color(child);
      context.beginPath(); context.moveTo(x(child), y(child)); context.lineTo(x(parent), y(parent)); context.stroke();
    }
    context.globalAlpha = 1;
    for (let j = 0; j < J; j++) {
      if (coordinate(j, 0) === MISSING) continue;
      const share = jointAttention ? jointAttention.values[j] / jointAttention.largest : 0;
      const radius = jointAttention ? (isDense ? 1.2 + 3 * share : 2.5 + 8 * share) : isDense ? 1.6 : 4;
      context.beginPath(); context.arc(x(j), y(j), radius, 0, 7);
      context.fillStyle = jointAttention ? heatColor(0.08 + 0.92 * share) : color(j);
      context.fill();
      if (jointAttention && !isDense) { context.lineWidth = 1.2; context.strokeStyle = color(j); context.stroke(); }
      drawnJoints.push({ x: x(j), y: y(j), j, scene, value: jointAttention ? jointAttention.values[j] : null });
    }
    context.fillStyle = palette.soft;
    context.textAlign = "left";
    context.textBaseline = "top";
    context.fillText(title, v === 0 ? 2 : left, 4);
    left += extents[v] * scale + gap;
  });
  const attentionLegend = jointAttention ? `<span>0${colorScale()}${jointAttention.largestText} (${jointAttention.description})</span>` : "";
  byId("joint-legend").innerHTML = `<span><i style="background: ${palette.left}"></i>left</span><span><i style="background: ${palette.right}"></i>right</span>${attentionLegend}`;
}
// Attention to each point of a scene: of the selected token, of the encoder in a frame, or null.
function findJointAttention(track, scene, frame) {
  if (track.kind === "joints") {
    const weights = selectTokenRow(trackWeights[state.track], track.spans.length), values = new Float32Array(scene.names.length);
    track.joints.forEach((joint, n) => { values[joint] += weights[n]; });
    const largest = values.reduce((a, b) => Math.max(a, b), 1e-9);
    return { values, largest, description: state.token < 0 ? "mean over tokens" : "selected token", largestText: formatPercent(largest) };
  }
  if (!scene.attention) return null;
  const V = scene.attention.joints, numSteps = scene.attention.values.length / V;
  const step = Math.min(numSteps - 1, Math.floor(frame * numSteps / scene.shape[0]));
  const values = scene.attention.values.subarray(step * V, (step + 1) * V);
  return { values, largest: 1, description: "encoder attention in this frame", largestText: `${scene.attention.largest}` };
}
// Lowest and highest value of each coordinate over the whole clip, without distant outliers.
function boundingBox(scene) {
  if (scene.bounds) return scene.bounds;
  const C = scene.shape[2];
  scene.bounds = Array.from({ length: C }, (_, c) => {
    const sorted = scene.points.filter((x, i) => i % C === c && x !== MISSING).sort();
    if (!sorted.length) return [0, 1];
    const last = sorted.length - 1, low = sorted[Math.floor(0.02 * last)], high = sorted[Math.ceil(0.98 * last)], margin = (high - low) / 2;
    return [Math.max(sorted[0], low - margin), Math.max(Math.min(sorted[last], high + margin), sorted[0] + 1)];
  });
  return scene.bounds;
}

// --- time axis: attention as bars, and the current frame
function drawTime() {
  const [context, canvasWidth, canvasHeight] = prepareCanvas(byId("time"));
  const track = selectedTrack(), duration = timeline.frames / timeline.rate;
  context.fillStyle = palette.line;
  context.fillRect(0, canvasHeight - 18, canvasWidth, 1);
  if (track.kind === "frames") {
    const weights = selectTokenRow(trackWeights[state.track], track.spans.length);
    const largest = weights.reduce((a, b) => Math.max(a, b), 1e-9);
    weights.forEach((weight, n) => {
      const [from, to] = track.spans[n].map((frame) => canvasWidth * frame / track.rate / duration), height = (canvasHeight - 22) * weight / largest;
      context.fillStyle = heatColor(0.15 + 0.85 * weight / largest);
      context.fillRect(from, canvasHeight - 18 - height, Math.max(1, to - from - (to - from > 3 ? 1 : 0)), height);
    });
  }
  context.fillStyle = palette.soft;
  context.font = "11px system-ui, sans-serif";
  if (track.kind === "joints") {
    context.textAlign = "center";
    context.fillText("Joints are pooled over time: no attention per frame", canvasWidth / 2, (canvasHeight - 18) / 2);
  }
  drawTicks(context, 10, canvasWidth - 20, duration, canvasHeight - 8);
  const x = canvasWidth * (state.frame + 0.5) / timeline.frames;
  context.fillStyle = palette.mark;
  context.fillRect(x - 1, 0, 2, canvasHeight - 18);
  const frameShare = currentFrameShare();
  byId("frame-label").textContent = `${currentTime().toFixed(2)} s, frame ${state.frame + 1} of ${timeline.frames}` + (frameShare === null ? "" : ` · ${formatPercent(frameShare)}`);
}
// Weight of the vector that represents the current frame; null if the track has no frames.
function currentFrameShare() {
  const track = selectedTrack();
  if (track.kind === "joints") return null;
  const frame = frameAt(track, currentTime()), n = track.spans.findIndex(([a, b]) => frame >= a && frame < b);
  return n < 0 ? 0 : selectTokenRow(trackWeights[state.track], track.spans.length)[n];
}

function drawShares() {
  const shares = data.tracks.map((track, k) => [trackName(track), sum(selectTokenRow(trackWeights[k], track.spans.length)), "motion"]);
  data.groups.forEach((group, k) => shares.push([group.name, selectTokenRow(groupWeights[k], 1)[0], ""]));
  const body = byId("shares").tBodies[0];
  body.replaceChildren();
  for (const [name, share, className] of shares) {
    const row = body.insertRow();
    row.insertCell().textContent = name;
    const shareCell = row.insertCell();
    shareCell.className = "number";
    shareCell.textContent = formatPercent(share);
    const barCell = row.insertCell();
    barCell.className = "bar";
    const bar = document.createElement("i");
    bar.className = className;
    bar.style.width = `${100 * share}%`;
    barCell.append(bar);
  }
}
const trackName = (track) => `${track.kind} of ${track.stream}`;

function drawTokens() {
  const buttons = byId("tokens").children;
  for (let l = -1; l < L; l++) {
    const button = buttons[l + 1], share = l < 0 ? sum(data.tokens.map((_, k) => motionShare(k))) / L : motionShare(l);
    button.setAttribute("aria-pressed", l === state.token);
    button.tabIndex = l === state.token ? 0 : -1;
    button.lastChild.textContent = formatPercent(share);
    button.style.background = l < 0 ? "" : mixColors(palette.paper, palette.hot, 0.35 * share);
  }
}
function draw() { drawTokens(); drawMap(); drawSkeleton(); drawTime(); drawShares(); }
function drawFrame() { drawTimeCursor(); drawSkeleton(); drawTime(); byId("frame-slider").value = state.frame; }
