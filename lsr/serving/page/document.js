// One document, whole, and all that earned its score.

import { drawBar, drawChips, drawFields, namer, origin } from "./results.js";
import { element, readable, score, setMarked, share } from "./text.js";

const $ = (id) => document.getElementById(id);

/** Show a document's explanation, as the service gives it, in the dialog. */
export function drawDocument(explanation, palette, place, filter) {
  const { document: found, terms } = explanation;
  palette.know(terms);
  setMarked($("document-title"), found.title || found.id, found.title ? explanation.title_marks : [], palette.slot, explanation.score);
  $("document-place").textContent = `${place}  ${found.id}`;
  const result = { ...found, ...explanation };
  const name = namer(result);
  const earned = terms.length ? [drawBar(result, explanation.score, palette, name), drawChips(result, palette, name)] : [];
  $("document-score").replaceChildren(...earned);
  const fields = drawFields(found.metadata, filter);
  $("document-fields").replaceChildren(...(fields ? [fields] : []));
  const text = $("document-text");
  if (found.text === undefined) text.replaceChildren(element("em", {}, "The index does not keep texts."));
  else setMarked(text, found.text, explanation.text_marks, palette.slot, explanation.score);
  const rows = terms.map((term) => {
    const expansion = !(term.in_query && term.in_document);
    const piece = element("span", { class: `piece t${palette.slot(term.term)}${expansion ? " expansion" : ""}` });
    piece.style.width = `${(100 * term.score) / (terms[0].score || 1)}%`;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, readable(term.term), expansion ? element("small", {}, origin(term)) : null),
      element("td", {}, score(term.weight)),
      element("td", { class: "times", "aria-hidden": "true" }, "×"),
      element("td", {}, score(term.impact)),
      element("td", {}, score(term.score)),
      element("td", { class: "part" }, element("span", { class: "visually-hidden" }, share(term.score, explanation.score)), piece),
    );
  });
  if (!rows.length) rows.push(element("tr", {}, element("td", { colspan: "6" }, "The document holds no term of the query.")));
  else
    rows.push(
      element("tr", { class: "sum" }, element("th", { scope: "row", colspan: "4" }, "score"), element("td", {}, score(explanation.score)), element("td", {})),
    );
  $("document-terms").replaceChildren(...rows);
}
