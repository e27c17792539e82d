// The page of `kinesweep serve`: a file or the webcam goes in; text, alternatives with scores,
// skeleton and attention come out. It talks to its own server only.
"use strict";

const MAX_RECORDING_S = 20;
const SIDE_COLORS = { "-1": "#2563eb", 0: "#6b7280", 1: "#dc2626" };
const element = (id) => document.getElementById(id);

let info = null;
let recorder = null;
let scene = null;
let frameIndex = 0;
let isPlaying = true;
let lastFrameTime = 0;

class Refused extends Error {}

async function readJson(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Refused(`the server answered with status ${response.status}`);
  }
  if (!response.ok) throw new Refused(body.reason || `status ${response.status}`);
  return body;
}

function showError(error) {
  const message = error instanceof Refused ? error.message : `The server cannot be reached: ${error.message}`;
  element("error").textContent = message;
  element("error").hidden = false;
  element("status").textContent = "";
}

function clearResult() {
  element("error").hidden = true;
  element("text").textContent = "";
  for (const id of ["alternatives-part", "skeleton-part", "attention-part"]) element(id).hidden = true;
  scene = null;
}

function buildFields() {
  const container = element("file-fields");
  for (const [name, description] of Object.entries(info.files)) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.htmlFor = input.id = `field-${name}`;
    label.textContent = name === "file" ? "File" : name;
    input.type = "file";
    input.name = name;
    label.append(` (${description.replaceAll("`", "")}) `, input);
    container.append(label);
  }
  const megabytes = (info.limits.max_body_bytes / 2 ** 20).toFixed(0);
  element("accepted").textContent = `At most ${megabytes} MiB and ${info.limits.max_duration_s} s.`;
  element("alternatives").value = Math.min(5, Math.max(1, info.generation.num_beams));
}

function describeWebcam() {
  const canRecord = Boolean(navigator.mediaDevices && window.MediaRecorder);
  let note = "";
  if (!info.takes_videos) {
    note = "This model reads no videos, and this server has no estimator of poses that could turn a "
      + "recording into its input. Create the environment of one with `kinesweep estimate-poses`, "
      + "then start the server again.";
  } else if (!canRecord) {
    note = "This browser gives no access to the webcam here; open the page by https or on localhost.";
  } else {
    note = `Record up to ${MAX_RECORDING_S} s; the recording is sent to this server only.`;
  }
  element("webcam-note").textContent = note;
  element("record").disabled = !(info.takes_videos && canRecord);
}

function buildForm(files, isRecording) {
  const form = new FormData();
  for (const [field, file, name] of files) form.append(field, file, name);
  const alternatives = Math.max(1, Number(element("alternatives").value) || 1);
  form.append("alternatives", alternatives);
  if (alternatives > info.generation.num_beams) form.append("num_beams", alternatives);
  form.append("attention", "true");
  form.append("skeleton", "true");
  // The rate of a webcam is what it is.
  if (isRecording || element("accept-rate").checked) form.append("accept_rate", "true");
  if (element("prompt").value) form.append("prompt", element("prompt").value);
  return form;
}

async function translate(form) {
  clearResult();
  element("status").textContent = "Translating …";
  element("translate").disabled = true;
  try {
    const started = performance.now();
    showResult(await readJson(await fetch("translate", { method: "POST", body: form })));
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    element("status").textContent = `Translated in ${seconds} s.`;
  } catch (error) {
    showError(error);
  } finally {
    element("translate").disabled = false;
  }
}

function showResult(result) {
  element("text").textContent = result.text || "(empty text)";
  const rows = element("alternatives-table").tBodies[0];
  rows.replaceChildren();
  for (const { text, score } of result.alternatives || []) {
    const row = rows.insertRow();
    row.insertCell().textContent = text;
    row.insertCell().textContent = score.toFixed(3);
  }
  element("alternatives-part").hidden = !rows.rows.length;
  showScene(Object.values(result.skeleton || {})[0]);
  showAttention(result.attention, result.warnings);
}

function showScene(chosen) {
  if (!chosen || !chosen.frames.length) return;
  scene = chosen;
  frameIndex = 0;
  element("frame").max = scene.frames.length - 1;
  element("skeleton-part").hidden = false;
  drawFrame();
}

function drawFrame() {
  const canvas = element("skeleton");
  const context = canvas.getContext("2d");
  const [left, top, right, bottom] = scene.box;
  const scale = (canvas.width * 0.9) / Math.max(right - left, bottom - top, 1);
  const shiftX = (canvas.width - (right - left) * scale) / 2;
  const shiftY = (canvas.height - (bottom - top) * scale) / 2;
  const place = ([x, y]) => [shiftX + (x - left) * scale, shiftY + (y - top) * scale];
  const points = scene.frames[frameIndex];
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.lineWidth = 2;
  for (const [child, parent] of scene.bones) {
    if (!points[child] || !points[parent]) continue;
    context.strokeStyle = SIDE_COLORS[scene.sides[child]];
    context.beginPath();
    context.moveTo(...place(points[child]));
    context.lineTo(...place(points[parent]));
    context.stroke();
  }
  points.forEach((point, index) => {
    if (!point) return;
    const [x, y] = place(point);
    context.fillStyle = SIDE_COLORS[scene.sides[index]];
    context.fillRect(x - 1.5, y - 1.5, 3, 3);
  });
  element("frame").value = frameIndex;
}

function play(now) {
  if (scene && isPlaying && now - lastFrameTime >= 1000 / scene.rate_hz) {
    lastFrameTime = now;
    frameIndex = (frameIndex + 1) % scene.frames.length;
    drawFrame();
  }
  requestAnimationFrame(play);
}

function showAttention(attention, warnings) {
  const streams = attention ? Object.entries(attention.streams) : [];
  if (!streams.length) {
    if (warnings && warnings.length) {
      element("status").textContent = warnings.join(" ");
    }
    return;
  }
  const [name, stream] = streams[0];
  const canvas = element("attention");
  const labelWidth = 110, rowHeight = 20;
  const numColumns = stream.spans.length;
  canvas.width = labelWidth + Math.max(300, numColumns * 2);
  canvas.height = attention.tokens.length * rowHeight;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const largest = Math.max(1e-9, ...stream.weights.flat());
  const cellWidth = (canvas.width - labelWidth) / numColumns;
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  attention.tokens.forEach((token, row) => {
    context.fillStyle = "#111";
    context.fillText(token.trim(), 4, (row + 0.5) * rowHeight, labelWidth - 8);
    stream.weights[row].forEach((weight, column) => {
      context.fillStyle = `rgba(37, 99, 235, ${weight / largest})`;
      context.fillRect(labelWidth + column * cellWidth, row * rowHeight, cellWidth + 0.5, rowHeight - 1);
    });
  });
  const seconds = stream.spans[numColumns - 1][1] / stream.rate_hz;
  element("attention-note").textContent =
    `Stream ${name}, 0 to ${seconds.toFixed(1)} s; mean over layers and heads. Darkest: ${largest.toFixed(3)}.`;
  element("attention-part").hidden = false;
}

async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: false });
  const preview = element("preview");
  preview.srcObject = stream;
  preview.hidden = false;
  await preview.play();
  const chunks = [];
  recorder = new MediaRecorder(stream, { mimeType: "video/webm" });
  const timer = setTimeout(() => recorder && recorder.stop(), MAX_RECORDING_S * 1000);
  recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
  recorder.addEventListener("stop", () => {
    clearTimeout(timer);
    for (const track of stream.getTracks()) track.stop();
    preview.hidden = true;
    recorder = null;
    element("record").textContent = "Record";
    translate(buildForm([["file", new Blob(chunks, { type: "video/webm" }), "webcam.webm"]], true));
  });
  recorder.start();
  element("record").textContent = "Stop and translate";
}

element("record").addEventListener("click", async () => {
  if (recorder) {
    recorder.stop();
    return;
  }
  try {
    await startRecording();
  } catch (error) {
    showError(new Refused(`The webcam cannot be used: ${error.message}`));
  }
});

element("file-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...element("file-fields").querySelectorAll("input")]
    .filter((input) => input.files.length)
    .map((input) => [input.name, input.files[0], input.files[0].name]);
  if (!files.length) {
    clearResult();
    showError(new Refused("Choose a file first."));
    return;
  }
  const size = files.reduce((sum, [, file]) => sum + file.size, 0);
  if (size > info.limits.max_body_bytes) {
    clearResult();
    showError(new Refused(`The file is too large: at most ${info.limits.max_body_bytes} bytes.`));
    return;
  }
  translate(buildForm(files, false));
});

element("play").addEventListener("click", () => {
  isPlaying = !isPlaying;
  element("play").textContent = isPlaying ? "Pause" : "Play";
});

element("frame").addEventListener("input", (event) => {
  isPlaying = false;
  element("play").textContent = "Play";
  frameIndex = Number(event.target.value);
  if (scene) drawFrame();
});

requestAnimationFrame(play);

(async () => {
  try {
    info = await readJson(await fetch("info"));
    element("bundle").textContent = `Bundle ${info.bundle}, Kinesweep ${info.version}`;
    buildFields();
    describeWebcam();
  } catch (error) {
    element("bundle").textContent = "";
    showError(error);
  }
})();
