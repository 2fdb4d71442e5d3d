// Each term of a query has one colour in all results, and keeps it while the query is being typed.

const SLOTS = 6;

export class Palette {
  constructor() {
    this.slots = new Map();
  }

  /** Give colours to the terms that matter most in some results. */
  update(results) {
    const earned = new Map();
    for (const result of results)
      for (const term of result.terms || []) earned.set(term.term, (earned.get(term.term) || 0) + term.score);
    const first = [...earned].sort((a, b) => b[1] - a[1]).slice(0, SLOTS).map(([term]) => term);
    for (const term of [...this.slots.keys()]) if (!first.includes(term)) this.slots.delete(term);
    for (const term of first) {
      if (this.slots.has(term)) continue;
      const taken = new Set(this.slots.values());
      for (let slot = 0; slot < SLOTS; slot++)
        if (!taken.has(slot)) {
          this.slots.set(term, slot);
          break;
        }
    }
  }

  /** Return the number of a term's colour; x is for all that have none. */
  slot = (term) => this.slots.get(term) ?? "x";
}
