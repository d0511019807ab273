"use strict";
// Pictures are selected, moved to another identity or a new one, and the table is downloaded.

const of = (id) => document.getElementById(id);
const table = JSON.parse(of("rows").textContent); // every row, also those without a picture here
const found = table.cluster.map((number) => table.called[number] ?? String(number));
const now = [...found]; // the identity of each row: its name, or its number as text
const confirmed = new Set(table.confirmed);
const chosen = new Set(); // rows
const steps = []; // what to undo: rows, and what they were
const items = [...document.querySelectorAll("[data-row]")];
const place = new Map(items.map((item, at) => [item, at]));
const alone = document.querySelector("#alone ol");
const lone = new Set(alone.children);
const homes = new Map(); // the list of each identity that has one
let fresh = table.cluster.reduce((most, number) => Math.max(most, number), -1) + 1;
let last, saved; // the picture selected last; the step that was downloaded last

const rowOf = (item) => Number(item.dataset.row);
const rowsOf = (name) => now.flatMap((other, row) => (other === name ? [row] : []));
const pictures = (count) => `${count} ${count === 1 ? "picture" : "pictures"}`;
const inSight = () => [...document.querySelectorAll("article:not([hidden]) [data-row], #alone [data-row]")];

function homeOf(name, article = of("empty").content.cloneNode(true).firstElementChild) {
  // The list of an identity, which gets buttons and can be chosen by its name from now on.
  if (homes.has(name)) return homes.get(name);
  if (!article.isConnected) of("groups").querySelector("h2").after(article);
  const list = article.querySelector("ol"), near = list.querySelector("[data-near]"); // nearest identity
  const add = (text, act) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: act });
    button.setAttribute("aria-label", `${text}: identity ${name}`);
    article.querySelector(".tools").append(button);
  };
  add("Select all", () => { for (const row of rowsOf(name)) chosen.add(row); show(); });
  add("Move selected here", () => move([...chosen], name));
  if (near) add("Merge into nearest", () => move(rowsOf(name), now[near.dataset.near]));
  add("Confirm", () => step(rowsOf(name), (row) => confirmed.add(row), `Identity ${name} is confirmed.`));
  article.querySelector(".who").textContent = name;
  list.setAttribute("aria-label", `Identity ${name}`);
  of("known").append(new Option(name));
  homes.set(name, list);
  return list;
}

function move(rows, to) {
  const moved = rows.filter((row) => now[row] !== to), what = now.includes(to) ? "" : ", a new one";
  step(moved, (row) => { now[row] = to; }, `${pictures(moved.length)} moved to identity ${to}${what}.`);
}

function split() {
  for (const taken = new Set(now); taken.has(String(fresh));) fresh += 1;
  move([...chosen], String(fresh));
}

function step(rows, act, text) {
  if (!rows.length) return show("Nothing to move: select pictures that are elsewhere.");
  steps.push(rows.map((row) => [row, now[row], confirmed.has(row)]));
  const here = document.activeElement.closest("article, [data-row]") ?? last, seen = inSight(), gone = new Set(rows);
  const next = seen.slice(seen.findIndex((item) => here?.contains(item))).find((item) => !gone.has(rowOf(item)));
  rows.forEach(act);
  chosen.clear();
  show(text);
  if (document.activeElement.matches("button") && document.activeElement.offsetParent) return;
  (next?.firstElementChild ?? of("to")).focus({ preventScroll: true }); // what had the focus has moved
}

function undo() {
  for (const [row, identity, sure] of steps.pop() ?? []) {
    now[row] = identity;
    if (!sure) confirmed.delete(row);
  }
  show(steps.length ? `Undone; ${steps.length} more to undo.` : "Everything is as it was.");
}

function show(text = "") {
  const sizes = new Map(), sure = new Map(), count = (counts, name) => counts.set(name, (counts.get(name) ?? 0) + 1);
  const single = new Set(); // identities whose only picture stands where it stood
  now.forEach((name, row) => { count(sizes, name); if (confirmed.has(row)) count(sure, name); });
  for (const item of items) {
    const row = rowOf(item), same = now[row] === found[row];
    const list = same && lone.has(item) && sizes.get(now[row]) === 1 ? alone : homeOf(now[row]);
    if (list === alone) single.add(now[row]);
    const after = (other) => !(place.get(other) < place.get(item));
    if (item.parentNode !== list) list.insertBefore(item, [...list.children].find(after) ?? null);
    item.querySelector(".was").textContent = same ? "" : `was in ${found[row]}`;
    item.firstElementChild.setAttribute("aria-checked", chosen.has(row));
  }
  for (const [name, list] of homes) {
    const article = list.closest("article"), size = sizes.get(name) ?? 0;
    const unseen = size - list.querySelectorAll("[data-row]").length;
    article.hidden = !size || single.has(name);
    article.querySelector(".count").textContent = pictures(size);
    article.querySelector(".sure").textContent = sure.get(name) === size ? ", confirmed" : "";
    article.querySelector(".more").textContent = unseen ? `And ${unseen} that are not shown.` : "";
  }
  of("identities").textContent = sizes.size;
  const unseen = chosen.size - items.filter((item) => chosen.has(rowOf(item))).length;
  of("chosen").textContent = `${chosen.size} selected${unseen ? `, ${unseen} of them not shown` : ""}`;
  of("say").textContent = text;
}

function pick(item, range) {
  const seen = inSight(), ends = [seen.indexOf(last), seen.indexOf(item)].sort((a, b) => a - b);
  if (range && ends[0] >= 0) for (const one of seen.slice(ends[0], ends[1] + 1)) chosen.add(rowOf(one));
  else if (!chosen.delete(rowOf(item))) chosen.add(rowOf(item));
  last = item;
  show();
}

function download() {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = table.names.map((name, row) =>
    [row, quoted(name), quoted(now[row]), table.cluster[row], confirmed.has(row) ? "yes" : ""].join());
  const content = new Blob([["row,name,identity,cluster,confirmed", ...lines, ""].join("\n")], { type: "text/csv" });
  Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: "clusters.csv" }).click();
  saved = steps.at(-1);
  show(`Downloaded: ${pictures(lines.length)}.`);
}

function pressed(event) {
  const item = event.target.closest("[data-row]"), seen = inSight(), typed = event.target.matches("input");
  const to = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !typed) undo();
  else if (event.ctrlKey || event.metaKey || event.altKey || !item) return;
  else if (to) seen[seen.indexOf(item) + to]?.firstElementChild.focus();
  else if (event.key === " " || event.key === "Enter") pick(item, event.shiftKey);
  else if (event.key === "m") of("to").focus();
  else if (event.key === "n") split();
  else return;
  event.preventDefault();
}

for (const item of items) {
  const box = Object.assign(item.firstElementChild, { tabIndex: 0, onclick: (event) => pick(item, event.shiftKey) });
  box.setAttribute("role", "checkbox");
  box.setAttribute("aria-label", `row ${rowOf(item)}, ${item.title}`);
}
for (const article of document.querySelectorAll("article")) homeOf(article.querySelector(".who").textContent, article);
for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
of("split").onclick = split;
of("undo").onclick = undo;
of("save").onclick = download;
of("edit").onsubmit = (event) => {
  event.preventDefault();
  if (of("to").value.trim()) move([...chosen], of("to").value.trim());
};
document.onkeydown = pressed;
window.onbeforeunload = (event) => { if (steps.at(-1) !== saved) event.preventDefault(); };
show();
