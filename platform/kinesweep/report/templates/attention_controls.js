// --- user input
function selectToken(l, jump = true) {
  state.token = Math.max(-1, Math.min(L - 1, l));
  const track = selectedTrack();
  if (jump && state.token >= 0 && track.kind === "frames" && !state.playing) {
    const weights = tokenWeights(tracks[state.track], track.spans.length);
    const best = weights.reduce((top, w, n) => w > weights[top] ? n : top, 0);
    setFrame(Math.floor((track.spans[best][0] + track.spans[best][1] - 1) / 2 / track.rate * timeline.rate));
  }
  draw();
}
function setFrame(frame) {
  state.frame = Math.max(0, Math.min(timeline.frames - 1, Math.round(frame)));
  byId("scrub").value = state.frame;
}
function buildControls() {
  const row = byId("tokens");
  for (let l = -1; l < L; l++) {
    const button = document.createElement("button"), word = document.createElement("span"), share = document.createElement("small");
    button.type = "button";
    word.textContent = l < 0 ? "all" : label(l);
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
  const fill = (id, count, name) => {
    byId(id).add(new Option("mean", -1));
    for (let n = 0; n < count; n++) byId(id).add(new Option(n + 1, n));
    byId(id).addEventListener("input", () => { state[name] = +byId(id).value; compute(); draw(); });
  };
  fill("layer", data.layers, "layer");
  fill("head", data.heads, "head");
  data.tracks.forEach((one, k) => byId("track").add(new Option(trackName(one), k)));
  byId("track-label").hidden = data.tracks.length < 2;
  byId("track-label").style.display = data.tracks.length < 2 ? "none" : "";
  byId("track").addEventListener("input", () => { state.track = +byId("track").value; draw(); });
  byId("rows").addEventListener("input", drawMap);
  byId("scrub").max = timeline.frames - 1;
  byId("scrub").addEventListener("input", () => { state.frame = +byId("scrub").value; drawFrame(); });
  byId("time").addEventListener("click", (event) => { setFrame(event.offsetX / byId("time").clientWidth * timeline.frames - 0.5); drawFrame(); });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("map").addEventListener("click", (event) => {
    const [l, n] = cellAt(event);
    if (l !== null) selectToken(l, false);
    if (n !== null && selectedTrack().kind === "frames") { setFrame(n / selectedTrack().rate * timeline.rate); drawFrame(); }
  });
  byId("map").addEventListener("keydown", (event) => {
    const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (!moves) return;
    event.preventDefault();
    if (moves[0]) selectToken(state.token + moves[0], false);
    else { setFrame(state.frame + moves[1]); drawFrame(); }
  });
  if (!data.scenes.length) {
    byId("skeleton").style.display = byId("joint-legend").style.display = "none";
    byId("motion-title").textContent = "Time";
  }
}
function cellAt(event) {
  const track = selectedTrack(), l = Math.floor((event.offsetY - TOP) / STEP);
  const n = Math.floor((event.offsetX - mapLayout.left) / mapLayout.plotWidth * mapLayout.unit);
  return [l >= 0 && l < L ? l : null, n >= 0 && n < mapLayout.unit ? n : null];
}
let lastTime = 0, exactFrame = 0;
function play(on) {
  state.playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  if (state.frame >= timeline.frames - 1) state.frame = 0;
  exactFrame = state.frame;
  lastTime = performance.now();
  requestAnimationFrame(advance);
}
function advance(now) {
  if (!state.playing) return;
  exactFrame += (now - lastTime) / 1000 * timeline.rate;
  lastTime = now;
  if (exactFrame >= timeline.frames) exactFrame = 0;
  if (Math.floor(exactFrame) !== state.frame) { state.frame = Math.floor(exactFrame); drawFrame(); }
  requestAnimationFrame(advance);
}
function showTooltip(event, text) {
  const tooltip = byId("tip");
  tooltip.style.display = text ? "block" : "none";
  tooltip.textContent = text || "";
  if (!text) return;
  tooltip.style.left = Math.min(event.clientX + 14, window.innerWidth - tooltip.offsetWidth - 8) + "px";
  tooltip.style.top = Math.max(4, event.clientY - tooltip.offsetHeight - 10) + "px";
}
byId("map").addEventListener("mousemove", (event) => {
  const [l, n] = cellAt(event), track = selectedTrack();
  if (l === null || n === null) return showTooltip(event);
  const v = track.kind === "joints" ? n : track.spans.findIndex(([a, b]) => n >= a && n < b);
  if (v < 0) return showTooltip(event, "not an input of the model");
  const [from, to] = track.spans[v], value = tracks[state.track][l * track.spans.length + v];
  const where = track.kind === "joints" ? jointName(findScene(track.stream), track.joints[v])
    : to - from > 1 ? `frames ${from + 1}–${to}, ${(from / track.rate).toFixed(2)}–${(to / track.rate).toFixed(2)} s`
    : `frame ${from + 1}, ${(from / track.rate).toFixed(2)} s`;
  showTooltip(event, `“${label(l)}”\n${where}\n${percent(value)}`);
});
byId("skeleton").addEventListener("mousemove", (event) => {
  let best = null, near = 14;
  for (const one of drawnJoints) {
    const far = Math.hypot(one.x - event.offsetX, one.y - event.offsetY);
    if (far < near) { near = far; best = one; }
  }
  if (!best) return showTooltip(event);
  const scale = best.scene.attention && selectedTrack().kind === "frames" ? best.scene.attention.largest : 1;
  const value = best.value === null ? "" : `\n${(best.value * scale).toPrecision(3)}`;
  showTooltip(event, jointName(best.scene, best.j) + value);
});
for (const id of ["map", "skeleton"]) byId(id).addEventListener("mouseleave", (event) => showTooltip(event));
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); draw(); });
buildControls();
theme();
compute();
draw();
