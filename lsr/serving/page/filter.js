// Writing filters, which are SQL expressions over documents' fields.

const KEYWORDS = new Set(
  ("abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade " +
    "case cast check collate column commit conflict constraint create cross current current_date current_time " +
    "current_timestamp database default deferrable deferred delete desc detach distinct do drop each else end escape " +
    "except exclude exclusive exists explain fail false filter first following for foreign from full generated glob " +
    "group groups having if ignore immediate in index indexed initially inner insert instead intersect into is isnull " +
    "join key last left like limit match materialized natural no not nothing notnull null nulls of offset on or order " +
    "others outer over partition plan pragma preceding primary query raise range recursive references regexp reindex " +
    "release rename replace restrict returning right rollback row rows savepoint select set table temp temporary then " +
    "ties to transaction trigger true unbounded union unique update using vacuum values view virtual when where window " +
    "with without").split(" "),
);

const name = (field) =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(field) && !KEYWORDS.has(field.toLowerCase()) ? field : `"${field.replaceAll('"', '""')}"`;
const literal = (value) => (typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value));

/** Return the condition that a field of a type has a value. */
export function condition(field, value, type) {
  if (type === "list") return `has(${name(field)}, ${literal(value)})`;
  if (type === "boolean") return value ? name(field) : `not ${name(field)}`;
  // A field that is text holds numbers as texts.
  return `${name(field)} = ${literal(type === "text" ? String(value) : value)}`;
}

/** Return a filter with one more condition. */
export function narrowed(where, more) {
  const before = where.trim();
  if (!before) return more;
  if (before === more || before.endsWith(` and ${more}`)) return before;
  return /\bor\b/i.test(before) ? `(${before}) and ${more}` : `${before} and ${more}`;
}

/** Return an example of a filter over some fields. */
export function example(fields) {
  const [field, type] = Object.entries(fields)[0] || ["title", "text"];
  if (type === "list") return `has(${name(field)}, 'red')`;
  if (type === "boolean") return name(field);
  if (type === "text") return `${name(field)} like 'a%'`;
  return `${name(field)} >= ${/year/i.test(field) ? 2020 : 10}`;
}
