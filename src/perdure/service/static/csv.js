// Comma-separated values as they come, piece by piece. RFC 4180: Shafranovich (2005).

/** Return the separator that the first line has most often. */
export function separatorOf(text) {
  const line = text.split(/\r?\n/, 1)[0];
  return [",", ";", "\t"].map((it) => [line.split(it).length, it]).sort((a, b) => b[0] - a[0])[0][1];
}

/** Takes text piece by piece and gives rows, lists of texts. */
export class CsvParser {
  constructor(separator) {
    this.separator = separator;
    this.field = "";
    this.row = [];
    this.quoted = false;
    this.last = ""; // the character before, if it decides about this one
  }

  push(text) {
    const rows = [];
    for (const character of text) {
      if (this.quoted) {
        if (this.last === '"') {
          this.last = "";
          if (character === '"') { this.field += '"'; continue; }
          this.quoted = false; // and the character counts as one outside
        } else if (character === '"') { this.last = '"'; continue; } else { this.field += character; continue; }
      }
      if (character === '"' && this.field === "") this.quoted = true;
      else if (character === this.separator) { this.row.push(this.field); this.field = ""; }
      else if (character === "\n") this.endRow(rows);
      else if (character !== "\r") this.field += character;
    }
    return rows;
  }

  finish() {
    const rows = [];
    this.quoted = false;
    if (this.field !== "" || this.row.length) this.endRow(rows);
    return rows;
  }

  endRow(rows) {
    this.row.push(this.field);
    if (this.row.length > 1 || this.row[0] !== "") rows.push(this.row);
    this.row = [];
    this.field = "";
  }
}

const isNumber = (text) => text.trim() !== "" && Number.isFinite(Number(text));

const MOSTLY = 0.9;

/** Tell which columns hold numbers, by their first rows; a few values may be mistakes, and what is empty is missing. */
export function numberColumns(names, rows) {
  return names.map((_, n) => {
    const values = rows.map((it) => it[n] ?? "").filter((it) => it !== "");
    return values.length > 0 && values.filter(isNumber).length >= MOSTLY * values.length;
  });
}

/** Return a value as JSON has it: a number where it is one and the column holds numbers, null if there is none. */
export function valueOf(text, isNumeric) {
  if (text === undefined || text === "") return null;
  return isNumeric && isNumber(text) ? Number(text) : text;
}

/** Yield the texts of a file, piece by piece, and the bytes read so far. */
export async function* pieces(file) {
  const decoder = new TextDecoder();
  const reader = file.stream().getReader();
  let bytes = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    bytes += part.value.length;
    yield [decoder.decode(part.value, { stream: true }), bytes];
  }
  yield [decoder.decode(), bytes];
}
