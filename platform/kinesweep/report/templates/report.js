const samples = JSON.parse(document.getElementById("sample-data").textContent);
const pageSize = 25;
const byId = (id) => document.getElementById(id);
let start = 0;
for (const signer of [...new Set(samples.map((s) => s.signer))].sort()) {
  if (signer) byId("signer").add(new Option(signer, signer));
}
const orders = {
  worst: (a, b) => a.score - b.score,
  best: (a, b) => b.score - a.score,
  short: (a, b) => a.frames - b.frames,
  long: (a, b) => b.frames - a.frames,
  clip: (a, b) => (a.clip < b.clip ? -1 : 1),
};
function cell(row, text, className) {
  const td = row.insertCell();
  td.textContent = text;
  if (className) td.className = className;
}
function showPage() {
  const signer = byId("signer").value, inTrain = byId("in-train").value;
  const words = byId("words").value.toLowerCase();
  const matches = samples.filter((s) =>
    (!signer || s.signer === signer) &&
    (!inTrain || (inTrain === "yes") === s.in_train) &&
    (!words || (s.reference + " " + s.hypothesis).toLowerCase().includes(words)));
  matches.sort(orders[byId("order").value]);
  start = Math.max(0, Math.min(start, Math.floor((matches.length - 1) / pageSize) * pageSize));
  const body = byId("samples");
  body.replaceChildren();
  for (const s of matches.slice(start, start + pageSize)) {
    const row = body.insertRow();
    cell(row, s.clip, "soft");
    cell(row, s.signer, "soft");
    cell(row, s.frames, "number");
    cell(row, s.score.toFixed(0), "number");
    cell(row, s.reference + (s.in_train ? " (in train)" : ""));
    cell(row, s.hypothesis);
  }
  byId("position").textContent = matches.length
    ? `${start + 1}–${Math.min(start + pageSize, matches.length)} of ${matches.length}` : "no matches";
}
for (const id of ["signer", "order", "in-train", "words"]) {
  byId(id).addEventListener("input", () => { start = 0; showPage(); });
}
byId("previous").addEventListener("click", () => { start -= pageSize; showPage(); });
byId("next").addEventListener("click", () => { start += pageSize; showPage(); });
showPage();
