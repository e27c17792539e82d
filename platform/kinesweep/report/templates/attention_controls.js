// --- user input
// Select a token (-1 for all); if `jump`, show the frame with its largest weight.
function selectToken(l, jump = true) {
  state.token = Math.max(-1, Math.min(L - 1, l));
  const track = selectedTrack();
  if (jump && state.token >= 0 && track.kind === "frames" && !state.playing) {
    const weights = selectTokenRow(trackWeights[state.track], track.spans.length);
    const largest = weights.reduce((maximum, weight, n) => weight > weights[maximum] ? n : maximum, 0);
    setFrame(Math.floor((track.spans[largest][0] + track.spans[largest][1] - 1) / 2 / track.rate * timeline.rate));
  }
  draw();
}
function setFrame(frame) {
  state.frame = Math.max(0, Math.min(timeline.frames - 1, Math.round(frame)));
  byId("frame-slider").value = state.frame;
}
function buildControls() {
  const row = byId("tokens");
  for (let l = -1; l < L; l++) {
    const button = document.createElement("button"), word = document.createElement("span"), share = document.createElement("small");
    button.type = "button";
    word.textContent = l < 0 ? "all" : tokenLabel(l);
    if (l >= 0 && data.tokens[l].forced) { button.className = "forced"; button.title = "forced"; }
    button.append(word, share);
    button.addEventListener("click", () => selectToken(l));
    row.append(button);
  }
  row.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    selectToken(state.token + step);
    row.children[state.token + 1].focus();
  });
  const addOptions = (id, count) => {
    byId(id).add(new Option("mean", -1));
    for (let n = 0; n < count; n++) byId(id).add(new Option(n + 1, n));
    byId(id).addEventListener("input", () => { state[id] = +byId(id).value; averageWeights(); draw(); });
  };
  addOptions("layer", data.layers);
  addOptions("head", data.heads);
  data.tracks.forEach((track, k) => byId("track").add(new Option(trackName(track), k)));
  byId("track-label").hidden = data.tracks.length < 2;
  byId("track-label").style.display = data.tracks.length < 2 ? "none" : "";
  byId("track").addEventListener("input", () => { state.track = +byId("track").value; draw(); });
  byId("normalize-rows").addEventListener("input", drawMap);
  byId("frame-slider").max = timeline.frames - 1;
  byId("frame-slider").addEventListener("input", () => { state.frame = +byId("frame-slider").value; drawFrame(); });
  byId("time").addEventListener("click", (event) => { setFrame(event.offsetX / byId("time").clientWidth * timeline.frames - 0.5); drawFrame(); });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("map").addEventListener("click", (event) => {
    const [l, n] = cellAt(event);
    if (l !== null) selectToken(l, false);
    if (n !== null && selectedTrack().kind === "frames") { setFrame(n / selectedTrack().rate * timeline.rate); drawFrame(); }
  });
  byId("map").addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [tokenStep, frameStep] = step;
    if (tokenStep) selectToken(state.token + tokenStep, false);
    else { setFrame(state.frame + frameStep); drawFrame(); }
  });
  if (!data.scenes.length) {
    byId("skeleton").style.display = byId("joint-legend").style.display = "none";
    byId("motion-title").textContent = "Time";
  }
}
// Token and column of the map under the mouse; null for each that is outside the map.
function cellAt(event) {
  const track = selectedTrack(), l = Math.floor((event.offsetY - TOP) / STEP);
  const n = Math.floor((event.offsetX - mapLayout.left) / mapLayout.plotWidth * mapLayout.numColumns);
  return [l >= 0 && l < L ? l : null, n >= 0 && n < mapLayout.numColumns ? n : null];
}
let lastTimestamp = 0, exactFrame = 0;
function play(isPlaying) {
  state.playing = isPlaying;
  byId("play").textContent = isPlaying ? "Pause" : "Play";
  if (!isPlaying) return;
  if (state.frame >= timeline.frames - 1) state.frame = 0;
  exactFrame = state.frame;
  lastTimestamp = performance.now();
  requestAnimationFrame(advance);
}
function advance(timestamp) {
  if (!state.playing) return;
  exactFrame += (timestamp - lastTimestamp) / 1000 * timeline.rate;
  lastTimestamp = timestamp;
  if (exactFrame >= timeline.frames) exactFrame = 0;
  if (Math.floor(exactFrame) !== state.frame) { state.frame = Math.floor(exactFrame); drawFrame(); }
  requestAnimationFrame(advance);
}
// Show a text beside the mouse, or hide the tooltip if there is no text.
function showTooltip(event, text) {
  const tooltip = byId("tooltip");
  tooltip.style.display = text ? "block" : "none";
  tooltip.textContent = text || "";
  if (!text) return;
  tooltip.style.left = Math.min(event.clientX + 14, window.innerWidth - tooltip.offsetWidth - 8) + "px";
  tooltip.style.top = Math.max(4, event.clientY - tooltip.offsetHeight - 10) + "px";
}
byId("map").addEventListener("mousemove", (event) => {
  const [l, n] = cellAt(event), track = selectedTrack();
  if (l === null || n === null) return showTooltip(event);
  const vector = track.kind === "joints" ? n : track.spans.findIndex(([a, b]) => n >= a && n < b);
  if (vector < 0) return showTooltip(event, "not an input of the model");
  const [from, to] = track.spans[vector], weight = trackWeights[state.track][l * track.spans.length + vector];
  const columnName = track.kind === "joints" ? jointName(findScene(track.stream), track.joints[vector])
    : to - from > 1 ? `frames ${from + 1}–${to}, ${(from / track.rate).toFixed(2)}–${(to / track.rate).toFixed(2)} s`
    : `frame ${from + 1}, ${(from / track.rate).toFixed(2)} s`;
  showTooltip(event, `“${tokenLabel(l)}”\n${columnName}\n${formatPercent(weight)}`);
});
byId("skeleton").addEventListener("mousemove", (event) => {
  // Only joints within 14 pixels of the mouse count.
  let nearest = null, smallestDistance = 14;
  for (const joint of drawnJoints) {
    const distance = Math.hypot(joint.x - event.offsetX, joint.y - event.offsetY);
    if (distance < smallestDistance) { smallestDistance = distance; nearest = joint; }
  }
  if (!nearest) return showTooltip(event);
  const scale = nearest.scene.attention && selectedTrack().kind === "frames" ? nearest.scene.attention.largest : 1;
  const valueText = nearest.value === null ? "" : `\n${(nearest.value * scale).toPrecision(3)}`;
  showTooltip(event, jointName(nearest.scene, nearest.j) + valueText);
});
for (const id of ["map", "skeleton"]) byId(id).addEventListener("mouseleave", (event) => showTooltip(event));
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); draw(); });
buildControls();
readPalette();
averageWeights();
draw();
