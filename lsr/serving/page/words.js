// A word of a query may have several terms, its pieces and one of its own. People are shown the word.

/** Return what a term is counted under: its word in the query, or the term itself. */
export const wordOf = (term) => term.word?.toLowerCase() ?? term.term;

/** Return what the words of a query earned a result, most first. A word is an expansion where most of what it earned is. */
export function byWord(terms) {
  const words = new Map();
  for (const term of terms) {
    const key = wordOf(term);
    if (!words.has(key)) words.set(key, { term: term.term, word: term.word ?? null, score: 0, own: 0, in_query: false, terms: [] });
    const word = words.get(key);
    word.score += term.score;
    word.in_query ||= term.in_query;
    if (term.in_document) word.own += term.score;
    word.terms.push(term);
  }
  const made = [...words.values()];
  for (const word of made) {
    word.in_document = 2 * word.own >= word.score;
    // Where nothing but inner pieces was found, the word was not: the piece has its own name.
    if (word.terms.every((term) => term.term.startsWith("##"))) word.word = null;
  }
  return made.sort((a, b) => b.score - a.score);
}
