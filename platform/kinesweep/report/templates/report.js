const samples = JSON.parse(document.getElementById("sample-data").textContent);
const pageSize = 25;
const byId = (id) => document.getElementById(id);
// Index of the first sample on the current page of the table.
let start = 0;
for (const signer of [...new Set(samples.map((sample) => sample.signer))].sort()) {
  if (signer) byId("signer").add(new Option(signer, signer));
}
const comparators = {
  worst: (a, b) => a.score - b.score,
  best: (a, b) => b.score - a.score,
  short: (a, b) => a.frames - b.frames,
  long: (a, b) => b.frames - a.frames,
  clip: (a, b) => (a.clip < b.clip ? -1 : 1),
};
function addCell(row, text, className) {
  const cell = row.insertCell();
  cell.textContent = text;
  if (className) cell.className = className;
}
function showPage() {
  const signer = byId("signer").value, inTrain = byId("in-train").value;
  const searchText = byId("search-text").value.toLowerCase();
  const matches = samples.filter((sample) =>
    (!signer || sample.signer === signer) &&
    (!inTrain || (inTrain === "yes") === sample.in_train) &&
    (!searchText || (sample.reference + " " + sample.hypothesis).toLowerCase().includes(searchText)));
  matches.sort(comparators[byId("sort-order").value]);
  start = Math.max(0, Math.min(start, Math.floor((matches.length - 1) / pageSize) * pageSize));
  const body = byId("samples");
  body.replaceChildren();
  for (const sample of matches.slice(start, start + pageSize)) {
    const row = body.insertRow();
    addCell(row, sample.clip, "soft");
    addCell(row, sample.signer, "soft");
    addCell(row, sample.frames, "number");
    addCell(row, sample.score.toFixed(0), "number");
    addCell(row, sample.reference + (sample.in_train ? " (in train)" : ""));
    addCell(row, sample.hypothesis);
  }
  byId("position").textContent = matches.length
    ? `${start + 1}–${Math.min(start + pageSize, matches.length)} of ${matches.length}` : "no matches";
}
for (const id of ["signer", "sort-order", "in-train", "search-text"]) {
  byId(id).addEventListener("input", () => { start = 0; showPage(); });
}
byId("previous").addEventListener("click", () => { start -= pageSize; showPage(); });
byId("next").addEventListener("click", () => { start += pageSize; showPage(); });
showPage();
