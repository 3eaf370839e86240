// Two people changed one draft: what each of them changed goes together; where both changed the same, mine stays and is told.

const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
const byId = (rows) => new Map(rows.map((row) => [row.id, row]));

/** Policies as they were (`base`), as I have them and as they stand now: { rows, both: [[id, field], ...] }. */
export function merge(base, mine, theirs) {
  const [was, here, there] = [base, mine, theirs].map(byId);
  const rows = [], both = [];
  for (const id of new Set([...there.keys(), ...here.keys()])) {
    const [old, my, their] = [was.get(id), here.get(id), there.get(id)];
    if (my && their) rows.push(fields(id, old ?? {}, my, their, both));
    else if (!old) rows.push(my ?? their);
    else if (!same(old, my ?? their)) {
      rows.push(my ?? their);
      both.push([id, null]);
    }
  }
  return { rows, both };
}

function fields(id, old, my, their, both) {
  const row = { ...their };
  for (const name of new Set([...Object.keys(my), ...Object.keys(their)])) {
    if (same(my[name], old[name]) || same(my[name], their[name])) continue;
    if (!same(their[name], old[name])) both.push([id, name]);
    row[name] = my[name];
  }
  return row;
}
