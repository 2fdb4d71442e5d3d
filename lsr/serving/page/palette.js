// Each word of a query, and each term that it was expanded with, has one colour in all results, and keeps it
// while the query is being typed.

import { wordOf } from "./words.js";

const SLOTS = 6;

export class Palette {
  constructor() {
    this.slots = new Map();
    this.words = new Map();
  }

  /** Give colours to what matters most in some results. */
  update(results) {
    const earned = new Map();
    this.words.clear();
    for (const result of results) {
      this.know(result.terms);
      for (const term of result.terms || []) earned.set(wordOf(term), (earned.get(wordOf(term)) || 0) + term.score);
    }
    const first = [...earned].sort((a, b) => b[1] - a[1]).slice(0, SLOTS).map(([word]) => word);
    for (const word of [...this.slots.keys()]) if (!first.includes(word)) this.slots.delete(word);
    for (const word of first) {
      if (this.slots.has(word)) continue;
      const taken = new Set(this.slots.values());
      for (let slot = 0; slot < SLOTS; slot++)
        if (!taken.has(slot)) {
          this.slots.set(word, slot);
          break;
        }
    }
  }

  /** Learn which words terms belong to; their colours stay as they are. */
  know(terms) {
    for (const term of terms || []) this.words.set(term.term, wordOf(term));
  }

  /** Return the number of a term's colour; x is for all that have none. */
  slot = (term) => this.slots.get(this.words.get(term) ?? term) ?? "x";
}
