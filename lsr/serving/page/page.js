// The search page: what is typed is asked for at once, one question at a time, the latest first.

import { drawDocument } from "./document.js";
import { condition, example, narrowed } from "./filter.js";
import { Palette } from "./palette.js";
import { drawResult } from "./results.js";
import { ask, useKey } from "./service.js";
import { counted, element } from "./text.js";

const $ = (id) => document.getElementById(id);
const PAGE = 10;
const MOST = 100;
const INCLUDE = ["title", "snippet", "marks", "terms", "metadata"];
// Where a model runs on every query, one is sent when typing rests.
const REST = 250;

const palette = new Palette();
let indexes = new Map();
let state = { index: "", q: "", where: "", k: PAGE };
let shown = null;
let waiting = false;
let asking = false;
let timer = 0;
let again = 0;
let telling = 0;

// The address holds what is asked, so that it can be shared and gone back to.

function address(extra = {}) {
  const parameters = new URLSearchParams();
  if (indexes.size > 1) parameters.set("index", state.index);
  for (const name of ["q", "where"]) if (state[name]) parameters.set(name, state[name]);
  for (const [name, value] of Object.entries(extra)) parameters.set(name, value);
  const query = parameters.toString();
  return query ? `?${query}` : location.pathname;
}

function readAddress() {
  const parameters = new URLSearchParams(location.search);
  const index = parameters.get("index");
  const before = state;
  state = {
    index: indexes.has(index) ? index : indexes.has(state.index) ? state.index : [...indexes.keys()][0],
    q: parameters.get("q") || "",
    where: parameters.get("where") || "",
    k: PAGE,
  };
  $("query").value = state.q;
  $("where").value = state.where;
  $("index").value = state.index;
  if (state.where) openFilter(true);
  drawIndex();
  if (!shown || ["index", "q", "where"].some((name) => state[name] !== before[name])) search();
  else state.k = before.k;
  const id = parameters.get("id");
  if (id !== null) showDocument(id);
  else if ($("document").open) $("document").close();
}

// Searching

function search(soon = false) {
  clearTimeout(timer);
  if (soon) timer = setTimeout(search, REST);
  else {
    waiting = true;
    run();
  }
}

async function run() {
  if (asking) return;
  asking = true;
  while (waiting) {
    waiting = false;
    await searchOnce({ ...state });
  }
  asking = false;
}

async function searchOnce(asked) {
  clearTimeout(again);
  if (!asked.q.trim()) {
    shown = null;
    draw(asked, null);
    return;
  }
  const started = performance.now();
  const body = { query: asked.q, k: asked.k, include: INCLUDE };
  if (asked.where.trim()) body.where = asked.where;
  try {
    const answer = await ask(`v1/indexes/${encodeURIComponent(asked.index)}/search`, body);
    if (asked.index !== state.index) return;
    shown = answer;
    draw(asked, answer, performance.now() - started);
    problem("");
    notice(
      answer.missing_shards.length
        ? `A part of this index does not answer (${answer.missing_shards.join(", ")}); results are those of the rest.`
        : "",
    );
  } catch (failure) {
    failed(failure, asked);
  }
}

function failed(failure, asked) {
  if (failure.status === 401) return askForKey(failure);
  if (failure.status === 422 && asked?.where.trim()) {
    openFilter(true);
    problem(failure.message);
    tell("");
    return;
  }
  notice(failure.message);
  tell("");
  // Not there or too busy: it may be a matter of seconds.
  if ([0, 503, 504].includes(failure.status)) again = setTimeout(() => (indexes.size ? search() : begin()), 2000);
}

// Drawing

function draw(asked, answer, milliseconds = 0) {
  const results = answer?.results || [];
  palette.update(results);
  const best = results[0]?.score || 0;
  const list = $("results");
  const focused = [...list.querySelectorAll(".title")].indexOf(document.activeElement);
  const on = { open: (result) => showDocument(result.id), filter: filterBy, address: (id) => address({ id }) };
  list.replaceChildren(...results.map((result, place) => drawResult(result, place + 1, best, palette, on)));
  if (focused >= 0) (list.querySelectorAll(".title")[focused] || $("query")).focus({ preventScroll: true });
  $("more").hidden = results.length < asked.k || asked.k >= MOST || results.length >= (answer?.documents || 0);
  $("welcome").hidden = Boolean(answer);
  document.body.classList.toggle("asked", Boolean(answer));
  document.title = asked.q ? `${asked.q} · ${asked.index}` : asked.index;
  if (!answer) return tell("");
  const took = answer.encode_ms + answer.search_ms;
  if (results.length) {
    const among = asked.where.trim() ? ", filtered" : "";
    tell(`${results.length} of ${counted(answer.documents)} documents${among} · ${took < 10 ? took.toPrecision(2) : Math.round(took)} ms`);
    $("count").title = `${answer.encode_ms} ms to encode the query, ${answer.search_ms} ms to search, ${Math.round(milliseconds)} ms until they were here`;
  } else {
    tell("No results");
    list.append(element("li", { class: "nothing" }, nothing(asked)));
  }
}

function nothing(asked) {
  const text = element("p", {}, "No document ", asked.where.trim() ? "that the filter lets through " : "", "holds any term of this query.");
  if (!asked.where.trim()) return text;
  const button = element("button", { type: "button" }, "Search without the filter");
  button.addEventListener("click", () => setFilter(""));
  return element("div", {}, text, button);
}

function drawIndex() {
  const info = indexes.get(state.index);
  if (!info) return;
  $("name").textContent = info.name;
  $("filter-toggle").hidden = false;
  const names = Object.keys(info.fields);
  $("fields").textContent =
    (names.length ? `Fields: ${names.slice(0, 20).map((name) => `${name} (${info.fields[name]})`).join(", ")}. ` : "Fields: id and title. ") +
    `For example: ${example(info.fields)}`;
  $("where").placeholder = example(info.fields);
  $("welcome").replaceChildren(
    element("p", { class: "count" }, element("b", {}, counted(info.documents)), ` document${info.documents === 1 ? "" : "s"}`),
    element("p", {}, `Encoded by ${info.encoder}: ${counted(info.vocabulary_size)} terms, ${counted(Math.round(info.postings / Math.max(1, info.documents + info.deleted)))} a document.`),
    element(
      "p",
      { class: "keys" },
      ...[["/", "type a query"], ["↑ ↓", "go through results"], ["Enter", "read one"], ["Esc", "back"]].map(([name, does]) =>
        element("span", {}, element("kbd", {}, name), ` ${does}`),
      ),
    ),
  );
}

function tell(text) {
  // Read out when typing rests, shown at once.
  $("count").textContent = text;
  clearTimeout(telling);
  telling = setTimeout(() => ($("status").textContent = text), 600);
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function problem(text) {
  $("filter-problem").textContent = text;
  if (text) $("where").setAttribute("aria-invalid", "true");
  else $("where").removeAttribute("aria-invalid");
}

// Filters

function openFilter(open) {
  $("filter").hidden = !open;
  $("filter-toggle").setAttribute("aria-expanded", String(open));
}

function setFilter(where) {
  $("where").value = state.where = where;
  state.k = PAGE;
  if (!where) problem("");
  history.replaceState(null, "", address());
  search();
}

function filterBy(field, value) {
  if ($("document").open) $("document").close();
  openFilter(true);
  setFilter(narrowed(state.where, condition(field, value, indexes.get(state.index).fields[field])));
}

// One document

async function showDocument(id) {
  const asked = { ...state };
  try {
    const explanation = await ask(`v1/indexes/${encodeURIComponent(asked.index)}/explain`, { query: asked.q, id });
    const place = (shown?.results.findIndex((result) => result.id === id) ?? -1) + 1;
    drawDocument(explanation, palette, place ? `${place}.` : "", filterBy);
  } catch (failure) {
    failed(failure);
    return;
  }
  const dialog = $("document");
  if (!dialog.open) {
    if (new URLSearchParams(location.search).get("id") === null) history.pushState({ opened: true }, "", address({ id }));
    dialog.showModal();
    dialog.scrollTop = 0;
  }
}

function closed() {
  if (new URLSearchParams(location.search).get("id") === null) return;
  // Back to the results as the browser's button goes, or to them at all where the address was opened so.
  if (history.state?.opened) history.back();
  else history.replaceState(null, "", address());
}

// Keys of the service

function askForKey(failure) {
  $("key-form").hidden = false;
  if ($("key").value) notice(failure.message);
  $("key").focus();
}

// Keyboard

function move(step) {
  const titles = [...document.querySelectorAll("#results .title")];
  const place = titles.indexOf(document.activeElement);
  const next = place + step;
  if (next < 0) $("query").focus();
  else (titles[next] || titles[place])?.focus();
  document.activeElement.closest(".result")?.scrollIntoView({ block: "nearest" });
}

function pressed(event) {
  if ($("document").open || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("query").focus();
    $("query").select();
  } else if (event.key === "ArrowDown" && (!typing || typing === $("query"))) {
    event.preventDefault();
    move(1);
  } else if (event.key === "ArrowUp" && !typing) {
    event.preventDefault();
    move(-1);
  } else if (event.key === "Escape") {
    if (document.activeElement !== $("query")) $("query").focus();
    else if ($("query").value) {
      event.preventDefault();
      $("query").value = "";
      typed();
    }
  }
}

function typed() {
  state.q = $("query").value;
  state.k = PAGE;
  history.replaceState(null, "", address());
  search(Boolean(indexes.get(state.index)?.query_model));
}

// Colours

const THEMES = { "": "as the system has them", light: "light", dark: "dark" };

function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  try {
    if (next) localStorage.setItem("lsr-theme", next);
    else localStorage.removeItem("lsr-theme");
  } catch {
    // Then it lasts until the page is left.
  }
  tellTheme();
}

function tellTheme() {
  const name = `Colours: ${THEMES[document.documentElement.dataset.theme || ""]}`;
  $("theme").setAttribute("aria-label", name);
  $("theme").title = name;
}

async function begin() {
  try {
    const answer = await ask("v1/indexes");
    indexes = new Map(answer.indexes.map((info) => [info.name, info]));
  } catch (failure) {
    failed(failure);
    return;
  }
  notice("");
  if (!$("key-form").hidden) $("query").focus();
  $("key-form").hidden = true;
  const select = $("index");
  select.replaceChildren(...[...indexes.keys()].map((name) => element("option", { value: name }, name)));
  $("index-label").hidden = indexes.size < 2;
  $("name").classList.toggle("visually-hidden", indexes.size > 1);
  readAddress();
}

$("query").addEventListener("input", typed);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
  // On a phone the keyboard gives way to the results.
  if (matchMedia("(pointer: coarse)").matches) document.activeElement.blur();
});
$("where").addEventListener("input", () => {
  clearTimeout(timer);
  const where = $("where").value;
  timer = setTimeout(() => setFilter(where), REST);
});
$("index").addEventListener("change", () => {
  state.index = $("index").value;
  problem("");
  history.replaceState(null, "", address());
  drawIndex();
  search();
});
$("filter-toggle").addEventListener("click", () => {
  openFilter($("filter").hidden);
  if (!$("filter").hidden) $("where").focus();
});
$("more").addEventListener("click", () => {
  state.k = Math.min(MOST, state.k + PAGE);
  search();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  begin();
});
$("close").addEventListener("click", () => $("document").close());
$("document").addEventListener("close", closed);
$("document").addEventListener("click", (event) => {
  if (event.target === $("document")) $("document").close();
});
$("theme").addEventListener("click", nextTheme);
addEventListener("keydown", pressed);
addEventListener("popstate", readAddress);
tellTheme();
begin();
