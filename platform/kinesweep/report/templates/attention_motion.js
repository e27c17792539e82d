// --- the skeleton
let drawnJoints = [];
function drawSkeleton() {
  const track = selectedTrack(), scene = findScene(track.stream);
  if (!scene) return;
  const [pen, canvasWidth, canvasHeight] = prepareCanvas(byId("skeleton"));
  const [frames, J, C] = scene.shape, views = scene.flat ? [[0, ""]] : [[0, "front"], [2, "side"]];
  const frame = frameAt(scene, second()), drawn = Math.floor(frame / scene.every), at = (j, c) => scene.points[(drawn * J + j) * C + c];
  const bounds = boundingBox(scene), extents = views.map(([axis]) => bounds[axis][1] - bounds[axis][0]);
  const high = bounds[1][1] - bounds[1][0];
  const scale = Math.min((canvasWidth - 20) / (sum(extents) * 1.06), (canvasHeight - 54) / high);
  const strength = jointStrength(track, scene, frame);
  const used = sum(extents) * scale, gap = (canvasWidth - used) / (views.length + 1), isDense = J > 60;
  const frameShare = currentFrameShare();
  if (frameShare !== null) {
    const largest = tokenWeights(tracks[state.track], track.spans.length).reduce((a, b) => Math.max(a, b), 1e-9);
    pen.fillStyle = palette.line;
    pen.fillRect(0, canvasHeight - 5, canvasWidth, 4);
    pen.fillStyle = palette.hot;
    pen.fillRect(0, canvasHeight - 5, canvasWidth * frameShare / largest, 4);
  }
  drawnJoints = [];
  let left = gap;
  pen.lineCap = "round";
  views.forEach(([axis, title], v) => {
    const x = (j) => left + (at(j, axis) - bounds[axis][0]) * scale;
    const y = (j) => 28 + (canvasHeight - 54 - high * scale) / 2 + (at(j, 1) - bounds[1][0]) * scale;
    const color = (j) => palette[["left", "middle", "right"][scene.sides[j] + 1]];
    pen.lineWidth = isDense ? 1.5 : 3.5;
    for (const [child, parent] of scene.bones) {
      if (at(child, 0) === MISSING || at(parent, 0) === MISSING) continue;
      pen.globalAlpha = strength ? 0.5 : 1;
      pen.strokeStyle = color(child);
      pen.beginPath(); pen.moveTo(x(child), y(child)); pen.lineTo(x(parent), y(parent)); pen.stroke();
    }
    pen.globalAlpha = 1;
    for (let j = 0; j < J; j++) {
      if (at(j, 0) === MISSING) continue;
      const share = strength ? strength.values[j] / strength.largest : 0;
      const radius = strength ? (isDense ? 1.2 + 3 * share : 2.5 + 8 * share) : isDense ? 1.6 : 4;
      pen.beginPath(); pen.arc(x(j), y(j), radius, 0, 7);
      pen.fillStyle = strength ? heat(0.08 + 0.92 * share) : color(j);
      pen.fill();
      if (strength && !isDense) { pen.lineWidth = 1.2; pen.strokeStyle = color(j); pen.stroke(); }
      drawnJoints.push({ x: x(j), y: y(j), j, scene, value: strength ? strength.values[j] : null });
    }
    pen.fillStyle = palette.soft;
    pen.textAlign = "left";
    pen.textBaseline = "top";
    pen.fillText(title, v === 0 ? 2 : left, 4);
    left += extents[v] * scale + gap;
  });
  const strengthText = strength ? `<span>0${ramp()}${strength.words} (${strength.what})</span>` : "";
  byId("joint-legend").innerHTML = `<span><i style="background: ${palette.left}"></i>left</span><span><i style="background: ${palette.right}"></i>right</span>${strengthText}`;
}
function jointStrength(track, scene, frame) {
  if (track.kind === "joints") {
    const weights = tokenWeights(tracks[state.track], track.spans.length), values = new Float32Array(scene.names.length);
    track.joints.forEach((joint, n) => { values[joint] += weights[n]; });
    const largest = values.reduce((a, b) => Math.max(a, b), 1e-9);
    return { values, largest, what: state.token < 0 ? "mean over tokens" : "selected token", words: percent(largest) };
  }
  if (!scene.attention) return null;
  const V = scene.attention.joints, count = scene.attention.values.length / V;
  const place = Math.min(count - 1, Math.floor(frame * count / scene.shape[0]));
  const values = scene.attention.values.subarray(place * V, (place + 1) * V);
  return { values, largest: 1, what: "encoder attention in this frame", words: `${scene.attention.largest}` };
}
// One bounding mapLayout for the whole clip, without distant outliers.
function boundingBox(scene) {
  if (scene.bounds) return scene.bounds;
  const C = scene.shape[2];
  scene.bounds = Array.from({ length: C }, (_, c) => {
    const all = scene.points.filter((x, i) => i % C === c && x !== MISSING).sort();
    if (!all.length) return [0, 1];
    const low = all[Math.floor(0.02 * (all.length - 1))], high = all[Math.ceil(0.98 * (all.length - 1))], spare = (high - low) / 2;
    return [Math.max(all[0], low - spare), Math.max(Math.min(all[all.length - 1], high + spare), all[0] + 1)];
  });
  return scene.bounds;
}

// --- time axis: attention as bars, and the current frame
function drawTime() {
  const [pen, canvasWidth, canvasHeight] = prepareCanvas(byId("time"));
  const track = selectedTrack(), duration = timeline.frames / timeline.rate;
  pen.fillStyle = palette.line;
  pen.fillRect(0, canvasHeight - 18, canvasWidth, 1);
  if (track.kind === "frames") {
    const weights = tokenWeights(tracks[state.track], track.spans.length);
    const largest = weights.reduce((a, b) => Math.max(a, b), 1e-9);
    weights.forEach((w, n) => {
      const [from, to] = track.spans[n].map((f) => canvasWidth * f / track.rate / duration), height = (canvasHeight - 22) * w / largest;
      pen.fillStyle = heat(0.15 + 0.85 * w / largest);
      pen.fillRect(from, canvasHeight - 18 - height, Math.max(1, to - from - (to - from > 3 ? 1 : 0)), height);
    });
  }
  pen.fillStyle = palette.soft;
  pen.font = "11px system-ui, sans-serif";
  if (track.kind === "joints") {
    pen.textAlign = "center";
    pen.fillText("Joints are pooled over time: no attention per frame", canvasWidth / 2, (canvasHeight - 18) / 2);
  }
  ticks(pen, 10, canvasWidth - 20, duration, canvasHeight - 8);
  const x = canvasWidth * (state.frame + 0.5) / timeline.frames;
  pen.fillStyle = palette.mark;
  pen.fillRect(x - 1, 0, 2, canvasHeight - 18);
  const frameShare = currentFrameShare();
  byId("clock").textContent = `${second().toFixed(2)} s, frame ${state.frame + 1} of ${timeline.frames}` + (frameShare === null ? "" : ` · ${percent(frameShare)}`);
}
function currentFrameShare() {
  const track = selectedTrack();
  if (track.kind === "joints") return null;
  const frame = frameAt(track, second()), n = track.spans.findIndex(([a, b]) => frame >= a && frame < b);
  return n < 0 ? 0 : tokenWeights(tracks[state.track], track.spans.length)[n];
}

function drawShares() {
  const lines = data.tracks.map((one, k) => [trackName(one), sum(tokenWeights(tracks[k], one.spans.length)), "seen"]);
  data.groups.forEach((group, k) => lines.push([group.name, tokenWeights(groups[k], 1)[0], ""]));
  const body = byId("shares").tBodies[0];
  body.replaceChildren();
  for (const [name, share, kind] of lines) {
    const line = body.insertRow();
    line.insertCell().textContent = name;
    const number = line.insertCell();
    number.className = "number";
    number.textContent = percent(share);
    const bar = line.insertCell();
    bar.className = "bar";
    const fill = document.createElement("i");
    fill.className = kind;
    fill.style.width = `${100 * share}%`;
    bar.append(fill);
  }
}
const trackName = (one) => `${one.kind} of ${one.stream}`;

function drawTokens() {
  const buttons = byId("tokens").children;
  for (let l = -1; l < L; l++) {
    const button = buttons[l + 1], share = l < 0 ? sum(data.tokens.map((_, k) => motionShare(k))) / L : motionShare(l);
    button.setAttribute("aria-pressed", l === state.token);
    button.tabIndex = l === state.token ? 0 : -1;
    button.lastChild.textContent = percent(share);
    button.style.background = l < 0 ? "" : mix(palette.paper, palette.hot, 0.35 * share);
  }
}
function draw() { drawTokens(); drawMap(); drawSkeleton(); drawTime(); drawShares(); }
function drawFrame() { drawTimeCursor(); drawSkeleton(); drawTime(); byId("scrub").value = state.frame; }
