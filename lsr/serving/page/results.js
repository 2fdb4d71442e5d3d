// One result: title, snippet, what each term earned, fields.

import { byWord } from "./words.js";
import { counted, cut, element, readable, score, setMarked, share } from "./text.js";

const CHIPS = 5;
const VALUES = 8;
const LONGEST_VALUE = 60;

/** Return the list item of a result. `best` is the highest score there is. */
export function drawResult(result, rank, best, palette, on) {
  const title = element("a", { class: "title", href: on.address(result.id), dir: "auto" });
  const shown = result.title || result.id;
  setMarked(title, shown, result.title ? result.title_marks : [], palette.slot, result.score);
  title.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    on.open(result);
  });
  const name = namer(result);
  const item = element("li", { class: "result" });
  item.append(
    element(
      "div",
      { class: "head" },
      element("span", { class: "rank", "aria-hidden": "true" }, String(rank)),
      element("h2", {}, title),
      element("span", { class: "score" }, element("span", { class: "visually-hidden" }, "score "), score(result.score)),
    ),
  );
  if (result.title && result.title !== result.id)
    item.append(element("p", { class: "id" }, result.id));
  if (result.snippet) {
    const snippet = element("p", { class: "snippet", dir: "auto" });
    setMarked(snippet, result.snippet, result.snippet_marks, palette.slot, result.score);
    item.append(snippet);
  }
  if (result.terms?.length) item.append(drawBar(result, best, palette, name), drawChips(result, palette, name));
  const fields = drawFields(result.metadata, on.filter);
  if (fields) item.append(fields);
  return item;
}

/** Return what a person calls a word or a term: as the query has it, or the text that the term stands in. */
export function namer(result) {
  const words = new Map();
  for (const [text, marks] of [[result.title, result.title_marks], [result.snippet ?? result.text, result.snippet_marks ?? result.text_marks]])
    for (const mark of marks || [])
      if (!words.has(mark.term)) words.set(mark.term, cut(text, mark.start, mark.end).toLowerCase());
  return (earned) => earned.word?.toLowerCase() || words.get(earned.term) || readable(earned.term);
}

/** Tell what a word's terms earned, where they are several. */
function parts(word, total) {
  if (word.terms.length < 2) return "";
  return `: ${word.terms.map((term) => `${readable(term.term)} ${share(term.score, total)}`).join(", ")}`;
}

/** Return the bar of a score: as long as the score is of the best one, cut into what each word earned. */
export function drawBar(result, best, palette, name) {
  const bar = element("div", { class: "bar", role: "img" });
  const words = byWord(result.terms);
  const told = words.slice(0, 8).map((word) => `${name(word)} ${share(word.score, result.score)}${origin(word)}`);
  bar.setAttribute("aria-label", `Score ${score(result.score)}: ${told.join(", ")}`);
  for (const word of words) {
    const piece = element("span", { class: `piece t${palette.slot(word.term)}` });
    if (!(word.in_document && word.in_query)) piece.classList.add("expansion");
    piece.style.width = `${(100 * word.score) / (best || 1)}%`;
    piece.title = `${name(word)}: ${score(word.score)}, ${share(word.score, result.score)}${origin(word)}${parts(word, result.score)}`;
    bar.append(piece);
  }
  return bar;
}

export function drawChips(result, palette, name) {
  const list = element("ul", { class: "chips", "aria-hidden": "true" });
  const words = byWord(result.terms);
  for (const word of words.slice(0, CHIPS)) {
    const expansion = !(word.in_document && word.in_query);
    const chip = element(
      "li",
      { class: `chip t${palette.slot(word.term)}${expansion ? " expansion" : ""}` },
      element("b", {}, (expansion ? "+ " : "") + name(word)),
      ` ${share(word.score, result.score)}`,
    );
    chip.title = `${name(word)}: ${score(word.score)}, ${share(word.score, result.score)}${origin(word)}${parts(word, result.score)}`;
    list.append(chip);
  }
  const rest = words.length - CHIPS;
  if (rest > 0) list.append(element("li", { class: "chip rest" }, `and ${rest} more`));
  return list;
}

/** Tell where a term comes from that a text does not hold itself. */
export function origin(term) {
  if (term.in_query && term.in_document) return "";
  if (term.in_query) return " (the document was expanded with it)";
  return term.in_document ? " (the query was expanded with it)" : " (query and document were expanded with it)";
}

/** Return a document's fields as buttons that filter by them; null where there are none. */
export function drawFields(metadata, filter) {
  const names = Object.keys(metadata || {}).filter((name) => metadata[name] !== null);
  if (!names.length) return null;
  const list = element("ul", { class: "fields" });
  for (const name of names.slice(0, VALUES)) {
    const values = Array.isArray(metadata[name]) ? metadata[name].slice(0, VALUES) : [metadata[name]];
    const item = element("li", {}, element("span", { class: "name" }, name));
    for (const value of values) {
      const text = String(value);
      const cut = text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text;
      const button = element("button", { type: "button", class: "value" }, cut);
      button.title = `Only documents with ${name}: ${cut}`;
      button.addEventListener("click", () => filter(name, value));
      item.append(button);
    }
    list.append(item);
  }
  if (names.length > VALUES) list.append(element("li", { class: "name" }, `and ${counted(names.length - VALUES)} more`));
  return list;
}
