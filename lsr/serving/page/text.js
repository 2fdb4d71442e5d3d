// Texts from documents go into the page as text nodes, never as HTML.

// A term that earned less than this part of a score is marked less.
const FAINT = 0.04;

/** Return an element with properties and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return a function that cuts pieces out of a text, by Unicode characters, as marks count. */
function cutter(text) {
  // A string of JavaScript counts pairs of surrogates as two.
  const characters = /[\ud800-\udfff]/.test(text) ? Array.from(text) : null;
  return (from, to) => (characters ? characters.slice(from, to).join("") : text.slice(from, to));
}

/** Return a piece of a text. */
export const cut = (text, from, to) => cutter(text)(from, to);

/** Put a text into an element with its marks; `slot` gives the colour of a term. */
export function setMarked(place, text, marks, slot, total) {
  place.replaceChildren();
  const part = cutter(text);
  let done = 0;
  for (const mark of marks || []) {
    if (mark.start > done) place.append(part(done, mark.start));
    const shown = element("mark", { class: `t${slot(mark.term)}` }, part(mark.start, mark.end));
    if (mark.expansion) shown.classList.add("expansion");
    if (mark.score < FAINT * total) shown.classList.add("faint");
    shown.title = `${readable(mark.term)}: ${share(mark.score, total)}${mark.expansion ? ", a term that the query was expanded with" : ""}`;
    place.append(shown);
    done = mark.end;
  }
  place.append(part(done, undefined));
}

/** Return a part of a score in per cent. */
export function share(part, whole) {
  const percent = whole ? (100 * part) / whole : 0;
  return `${percent < 1 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** Return a term as a person reads it: pieces of words have marks of their tokenizers. */
export function readable(term) {
  if (term.startsWith("##")) return `…${term.slice(2)}`;
  if (term.length > 1 && term.endsWith("*")) return `${term.slice(0, -1)}…`; // the stem of a word
  return term.replace(/^[\u0120\u2581]/, "") || term;
}

/** Return a number for people. */
export const counted = (number) => number.toLocaleString("en");

export const score = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
