"use strict";
// The page of `nformer serve`: one picture or item is searched with, and the answer is shown.

const of = (id) => document.getElementById(id);
const LARGEST_MARKS = 5000;
const narrow = window.matchMedia("(max-width: 46rem)");
let about = null; // what is served
let query = null; // {file} or {row, version}, with a name and a link to its picture
let crop = null; // [x, y, width, height] in the picture's pixels
let answer = null; // the last one
let marks = load(); // by key: what is marked, and in which answer
let moved = false; // whether a person set the threshold
let turn = 0; // of searches: an answer that comes late is not shown

// Start

async function start() {
  try {
    about = await asked("/about");
  } catch (error) {
    say(error.message, true);
    return;
  }
  const refined = about.refined_by ? `refined by ${about.refined_by}` : "compared as the network embeds them";
  of("about").textContent = `${about.run}: ${about.items.toLocaleString("en")} items, ${refined}. ${about.approximate}`;
  if (!about.pictures) {
    of("hint").textContent = "The network of these items is not here: search with an item below.";
    of("file").disabled = true;
    document.querySelector("label[for=file]").hidden = true;
  }
  for (const camera of about.cameras) of("cameras").append(choice(camera));
  of("cameras").hidden = about.cameras.length < 2;
  of("times").hidden = about.first_time === null;
  if (about.first_time !== null) {
    for (const id of ["since", "until"]) {
      of(id).min = about.first_time;
      of(id).max = about.last_time;
    }
    of("since").placeholder = about.first_time;
    of("until").placeholder = about.last_time;
  }
  of("adding").hidden = !about.allow_edit;
  of("more").open = !narrow.matches;
  if (about.calibration) of("threshold").value = about.calibration.threshold;
  of("threshold").disabled = false;
  listen();
  showLimit();
  showMarks();
  await browse();
}

function choice(camera) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.value = camera.name;
  box.addEventListener("change", again);
  label.append(box, `${camera.name} (${camera.items.toLocaleString("en")})`);
  return label;
}

async function browse() {
  // Before the first search: some items, to search with one of them.
  const listed = await asked(`/items?count=12${filter()}`);
  if (answer || query) return;
  say(`Choose a picture, or one of these items: ${listed.items.length} of ${listed.total.toLocaleString("en")}.`);
  of("hits").replaceChildren(...listed.items.map((item) => card(item, listed.version)));
}

// Asking

async function asked(place, options = {}) {
  let response;
  try {
    response = await fetch(place, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const found = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) {
    const problem = new Error(found.error || `status ${response.status}`);
    problem.retry = response.status === 429 ? Number(response.headers.get("retry-after")) : 0;
    throw problem;
  }
  return found;
}

function filter() {
  const chosen = [...of("cameras").querySelectorAll("input:checked")].map((box) => box.value);
  const parts = chosen.map((name) => `&among=${encodeURIComponent(name)}`);
  for (const id of ["since", "until"]) {
    if (!of("times").hidden && of(id).value !== "") parts.push(`&${id}=${encodeURIComponent(of(id).value)}`);
  }
  return parts.join("");
}

async function search(retried = 0) {
  if (!query) return;
  const mine = ++turn;
  const top = Math.min(200, Math.max(1, Math.round(Number(of("top").value)) || 20));
  // Any threshold makes the server tell the nearest similarity; the slider compares with it here.
  let place = `/search?top=${top}&threshold=${of("threshold").value}${filter()}`;
  if (crop) place += `&crop=${crop.join(",")}`;
  const sent = { method: "POST" };
  if (query.file) {
    sent.body = query.file;
    sent.headers = { "content-type": query.file.type.startsWith("image/") ? query.file.type : "application/octet-stream" };
  } else {
    place += `&row=${query.row}&version=${query.version}`;
  }
  say("Searching…");
  of("hits").setAttribute("aria-busy", "true");
  try {
    const found = await asked(place, sent);
    if (mine !== turn) return;
    answer = { ...found, query: query.name, crop: crop ? crop.join(",") : "" };
    show();
    if (narrow.matches) of("found").scrollIntoView();
  } catch (error) {
    if (mine !== turn) return;
    if (error.retry && retried < 5) {
      say(`Many are searching; trying again in ${error.retry} s.`);
      setTimeout(() => mine === turn && search(retried + 1), 1000 * error.retry);
      return;
    }
    forgetAnswer();  // it is another picture's
    say(error.message, true);
  } finally {
    if (mine === turn) of("hits").removeAttribute("aria-busy");
  }
}

let later = 0;
function again() {
  if (!query) {
    browse().catch((error) => say(error.message, true));
    return;
  }
  clearTimeout(later);
  later = setTimeout(search, 250);
}

// The picture searched with

function take(file) {
  if (!file || !about.pictures) return;
  if (file.size > about.megabytes * 1e6) {
    say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; ${about.megabytes} MB are taken.`, true);
    return;
  }
  use({ file, name: file.name || "pasted picture", link: URL.createObjectURL(file) });
}

function use(next) {
  if (query && query.file) URL.revokeObjectURL(query.link);
  query = next;
  setCrop(null);
  of("query").hidden = false;
  of("name").textContent = query.name;
  const seen = Boolean(query.file) || about.shown;
  for (const id of ["frame", "drawn", "part"]) of(id).hidden = !seen;
  if (seen) of("picture").src = query.link;
  of("picture").alt = `The picture searched with: ${query.name}`;
  of("search").disabled = false;
  of("add").disabled = !query.file;
  of("drop").classList.add("small");
  search();
}

function unseen() {
  // TIFF, say: the server reads it, this browser does not.
  if (query) of("picture").alt = `${query.name} cannot be shown by this browser; the server may read it all the same`;
}

function setCrop(next) {
  crop = next;
  const [x, y, w, h] = next || ["", "", "", ""];
  for (const [id, value] of Object.entries({ x, y, w, h })) of(id).value = value;
  drawCrop();
}

function fit() {
  // A crop of a person is small: it is shown larger, so that a part can be drawn on it.
  const image = of("picture");
  if (!image.naturalWidth) return;
  const room = of("query").clientWidth;
  const scale = Math.min(room / image.naturalWidth, 320 / image.naturalHeight);
  image.style.width = `${Math.round(image.naturalWidth * scale)}px`;
  drawCrop();
}

function drawCrop() {
  const image = of("picture");
  of("crop").hidden = !crop || !image.naturalWidth;
  if (of("crop").hidden) return;
  const scale = image.clientWidth / image.naturalWidth;
  const [x, y, w, h] = crop.map((value) => `${value * scale}px`);
  Object.assign(of("crop").style, { left: x, top: y, width: w, height: h });
}

function fieldsToCrop() {
  const values = ["x", "y", "w", "h"].map((id) => of(id).value);
  if (values.some((value) => value === "")) return;
  crop = values.map((value) => Math.max(0, Math.round(Number(value))));
  drawCrop();
  again();
}

function drawing() {
  const frame = of("frame");
  let from = null;
  const place = (event) => {
    const image = of("picture");
    const box = image.getBoundingClientRect();
    const within = (value, most) => Math.round(Math.min(Math.max(value, 0), 1) * most);
    return [
      within((event.clientX - box.left) / box.width, image.naturalWidth),
      within((event.clientY - box.top) / box.height, image.naturalHeight),
    ];
  };
  const spanned = (to) => [
    Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]),
  ];
  frame.addEventListener("pointerdown", (event) => {
    if (!of("picture").naturalWidth) return;
    frame.setPointerCapture(event.pointerId);
    from = place(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    const part = spanned(place(event));
    if (part[2] > 3 && part[3] > 3) setCrop(part);
  });
  const end = (event) => {
    if (!from) return;
    const part = spanned(place(event));
    from = null;
    if (part[2] > 3 && part[3] > 3) {
      setCrop(part);
      search();
    }
  };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", () => (from = null));
}

// The answer

function forgetAnswer() {
  answer = null;
  of("hits").replaceChildren();
  of("read").hidden = true;
  showLimit();
}

function show() {
  const seconds = answer.seconds < 1 ? `${Math.round(answer.seconds * 1000)} ms` : `${answer.seconds.toFixed(1)} s`;
  say(`${answer.hits.length} of ${answer.gallery.toLocaleString("en")} items, in ${seconds}.`);
  of("hits").replaceChildren(...answer.hits.map((hit) => card(hit, answer.version)));
  of("read").hidden = !answer.listened.length;
  of("own").textContent = `The picture kept ${percent(answer.own)} of its attention for itself.`;
  of("listened").replaceChildren(...answer.listened.map(neighbour));
  showLimit();
}

function whom(item) {
  const parts = [item.pid >= 0 ? `id ${item.identity}` : "id unknown"];
  if (item.camid >= 0) parts.push(`camera ${item.camera}`);
  if (item.time >= 0) parts.push(`time ${item.time}`);
  return parts.join(", ");
}

function shortName(item) {
  // The file's name; where nobody is named, with its folder, which often says who it is.
  return item.name.split("/").slice(item.pid >= 0 ? -1 : -2).join("/");
}

function picture(button, item, label) {
  const image = button.querySelector("img");
  const link = item.picture;
  image.alt = label;
  button.setAttribute("aria-label", `${label}: search with it`);
  if (about.shown) {
    image.src = link;
    image.addEventListener("error", () => button.classList.add("gone"));
  } else {
    image.remove();
    button.textContent = "search";
  }
  const version = new URLSearchParams(link.split("?")[1]).get("version");
  button.addEventListener("click", () => {
    use({ row: item.row, version, name: item.name, link: `${link}&whole=true` });
    of("found").focus();
    window.scrollTo({ top: 0 });
  });
}

function card(item, version) {
  const found = of("hit").content.firstElementChild.cloneNode(true);
  const part = (name) => found.querySelector(name);
  const ranked = item.rank !== undefined;
  const title = ranked ? `Rank ${item.rank}, ${whom(item)}` : `Item ${item.row}, ${whom(item)}`;
  picture(part(".again"), item, title);
  const file = document.createElement("span");
  file.className = "file";
  file.textContent = shortName(item);
  file.title = item.name;
  part(".who").append(ranked ? `${item.rank}. ${whom(item)}` : whom(item), file);
  if (ranked) {
    part(".after").textContent = item.similarity.toFixed(3);
    part(".before").textContent = item.before.toFixed(3);
    part(".before").parentElement.hidden = !answer.refined;
    if (!answer.refined) part(".after").previousElementSibling.textContent = "similarity";
    part(".lent dd").textContent = percent(item.weight);
    part(".lent").hidden = !item.weight;
    for (const kind of ["right", "wrong"]) {
      part(`.${kind}`).setAttribute("aria-label", `Rank ${item.rank} is ${kind}`);
      part(`.${kind}`).addEventListener("click", () => mark(found, item, kind));
    }
    found.addEventListener("keydown", (event) => {
      const kind = { r: "right", w: "wrong", u: "" }[event.key.toLowerCase()];
      if (kind === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      const marked = marks[keyOf(item)]?.mark || "";
      if (marked !== kind) mark(found, item, kind || marked);
    });
    showMark(found, item);
  } else {
    part("dl").remove();
    part(".marks").remove();
  }
  if (about.allow_edit) {
    part(".remove").hidden = false;
    part(".remove").setAttribute("aria-label", `Remove ${title} from the index`);
    part(".remove").addEventListener("click", () => remove(item, version));
  }
  return found;
}

function neighbour(item) {
  const found = of("one").content.firstElementChild.cloneNode(true);
  picture(found.querySelector(".again"), item, `Neighbour ${shortName(item)}, share ${percent(item.share)}`);
  found.querySelector(".share").textContent = percent(item.share);
  return found;
}

// The threshold

function showLimit() {
  const limit = Number(of("threshold").value);
  of("limit").textContent = limit.toFixed(3);
  of("reach").textContent = reached(limit);
  const verdict = of("verdict");
  of("hits").classList.remove("nobody-here");
  verdict.hidden = !answer || answer.nearest === null;
  if (verdict.hidden) return;
  const what = answer.refined ? "before refinement" : "similarity";
  if (!about.calibration && !moved) {
    verdict.classList.remove("nobody");
    verdict.textContent = `The nearest: ${what} ${answer.nearest.toFixed(3)}. ` +
      "No threshold was calibrated, so whether this is the person is for you to judge.";
    return;
  }
  const nobody = answer.nearest < limit;
  verdict.classList.toggle("nobody", nobody);
  verdict.textContent = nobody
    ? `Nobody here: ${what} ${answer.nearest.toFixed(3)} < ${limit.toFixed(3)}`
    : `Somebody is here: ${what} ${answer.nearest.toFixed(3)} ≥ ${limit.toFixed(3)}`;
  of("hits").classList.toggle("nobody-here", nobody);
}

function reached(limit) {
  const tells = about && about.calibration;
  if (!tells) return "Similarity before refinement. No threshold was calibrated for this index: set your own.";
  const place = tells.similarities.filter((one) => one < limit).length;
  const at = Math.min(place, tells.similarities.length - 1);
  return `Similarity before refinement. In training, ${percent(tells.strangers[at])} of strangers and ` +
    `${percent(tells.friends[at])} of people in the gallery reach it. Calibrated: ${tells.threshold.toFixed(3)}.`;
}

// Marks

const keyOf = (item) => `${answer.query}|${answer.crop}|${item.name}`;

function mark(found, item, kind) {
  const key = keyOf(item);
  if (marks[key]?.mark === kind) delete marks[key];
  else {
    marks[key] = {
      marked: new Date().toISOString(), query: answer.query, crop: answer.crop, rank: item.rank, row: item.row,
      name: item.name, identity: item.identity, camera: item.camera, similarity: item.similarity,
      before: item.before, mark: kind, version: answer.version,
    };
  }
  showMark(found, item);
  showMarks();
}

function showMark(found, item) {
  const kind = marks[keyOf(item)]?.mark;
  for (const one of ["right", "wrong"]) {
    found.classList.toggle(`is-${one}`, kind === one);
    found.querySelector(`.${one}`).setAttribute("aria-pressed", String(kind === one));
  }
}

function showMarks() {
  const all = Object.values(marks);
  const right = all.filter((one) => one.mark === "right").length;
  of("marks").textContent = all.length ? `${right} right, ${all.length - right} wrong.` : "No item is marked.";
  of("export").disabled = of("forget").disabled = !all.length;
  try {
    localStorage.setItem("nformer-marks", JSON.stringify(Object.fromEntries(Object.entries(marks).slice(-LARGEST_MARKS))));
  } catch { /* a browser that keeps nothing: they are there until the page is closed */ }
}

function load() {
  try {
    return JSON.parse(localStorage.getItem("nformer-marks")) || {};
  } catch {
    return {};
  }
}

function exported() {
  const columns = ["marked", "query", "crop", "rank", "row", "name", "identity", "camera", "similarity", "before", "mark", "version"];
  const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const lines = Object.values(marks).map((one) => columns.map((name) => cell(one[name] ?? "")).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[columns.join(","), ...lines, ""].join("\r\n")], { type: "text/csv" }));
  link.download = "marks.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Changes

async function add() {
  const who = `pid=${encodeURIComponent(of("pid").value || "-1")}&camera=${encodeURIComponent(of("camera").value || "-1")}`;
  await changing("Adding…", `/items?${who}`, {
    method: "POST",
    body: query.file,
    headers: { "content-type": query.file.type || "image/png" },
  });
}

async function remove(item, version) {
  if (!window.confirm(`Remove ${item.name} from the index?`)) return;
  await changing("Removing…", `/items/${item.row}?version=${version}`, { method: "DELETE" });
}

async function changing(text, place, sent) {
  say(text);
  try {
    const done = await asked(place, sent);
    about = await asked("/about");
    of("about").textContent = `${about.run}: ${about.items.toLocaleString("en")} items.`;
    if (query && query.row !== undefined) {
      query = null;
      answer = null;
      of("query").hidden = of("verdict").hidden = of("read").hidden = true;
      of("search").disabled = true;
    }
    if (query) await search();
    else await browse();
    say(`Done: the index has ${done.items.toLocaleString("en")} items now.`);
  } catch (error) {
    say(error.message, true);
  }
}

// Words, and what is listened to

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function say(text, problem = false) {
  of("status").textContent = text;
  of("status").classList.toggle("problem", problem);
}

function listen() {
  of("file").addEventListener("change", () => {
    take(of("file").files[0]);
    of("file").value = ""; // the same file may be chosen again
  });
  of("search").addEventListener("click", () => search());
  of("whole").addEventListener("click", () => { setCrop(null); again(); });
  for (const id of ["x", "y", "w", "h"]) of(id).addEventListener("change", fieldsToCrop);
  for (const id of ["top", "since", "until"]) of(id).addEventListener("change", again);
  of("threshold").addEventListener("input", () => {
    moved = true;
    showLimit();
  });
  of("add").addEventListener("click", add);
  of("export").addEventListener("click", exported);
  of("forget").addEventListener("click", () => {
    marks = {};
    showMarks();
    if (answer) show();
  });
  of("picture").addEventListener("load", fit);
  of("picture").addEventListener("error", unseen);
  window.addEventListener("resize", fit);
  drawing();
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
  for (const kind of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      of("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    of("file").click();
  });
}

start();
