// Comma-separated values as they come, piece by piece. RFC 4180: Shafranovich (2005).

/** Return the separator that the first line has most often. */
export function separatorOf(text) {
  const line = text.split(/\r?\n/, 1)[0];
  return [",", ";", "\t"].map((it) => [line.split(it).length, it]).sort((a, b) => b[0] - a[0])[0][1];
}

/** A file that is no table. */
export class CsvError extends Error {}

const LONGEST = 1_000_000; // characters of a value

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
    if (this.field.length > LONGEST) throw new CsvError("a value has more than a million characters; is a quotation mark never closed?");
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

const MISSING = /^(?:n\/?a|nan|null|none|-|\?)$/i;
const MOSTLY = 0.9;

function numberIn(text, decimal) {
  const number = Number(decimal === "," ? text.replace(",", ".") : text);
  return text !== "" && Number.isFinite(number) ? number : null;
}

/** Return what stands before decimals: a comma where semicolons separate values, and numbers are written so. */
export function decimalOf(separator, rows) {
  const values = separator === ";" ? rows.flat().map((it) => it.trim()) : [];
  return values.some((it) => /^[+-]?\d+,\d+$/.test(it)) && !values.some((it) => /^[+-]?\d+\.\d+$/.test(it)) ? "," : ".";
}

/** Tell which columns hold numbers, by their first rows; a few values may be mistakes, and what is empty is missing. */
export function numberColumns(names, rows, decimal = ".") {
  return names.map((_, n) => {
    const values = rows.map((it) => (it[n] ?? "").trim()).filter((it) => it !== "" && !MISSING.test(it));
    return values.length > 0 && values.filter((it) => numberIn(it, decimal) !== null).length >= MOSTLY * values.length;
  });
}

/** Return a value as JSON has it: a number where it is one and the column holds numbers, null if there is none. */
export function valueOf(given, isNumeric, decimal = ".") {
  const text = (given ?? "").trim();
  if (text === "" || (isNumeric && MISSING.test(text))) return null;
  return isNumeric ? (numberIn(text, decimal) ?? text) : text;
}

const WHOLE = /^(?:0|-?[1-9]\d{0,14})$/;

/** Tell whether all values of a column are whole numbers, written as numbers are; what is empty is missing. */
export function areWhole(values) {
  const there = values.map((it) => (it ?? "").trim()).filter((it) => it !== "");
  return there.length > 0 && there.every((it) => WHOLE.test(it));
}

/** Return a class as JSON has it: a number if `whole` and it is one, else a text; null if there is none. */
export function classOf(given, whole) {
  const text = (given ?? "").trim();
  if (text === "") return null;
  return whole && WHOLE.test(text) ? Number(text) : text;
}

/** Return the encoding of a file by its first bytes, or all of them: what is no UTF-8 was most likely written by Excel. */
export function encodingOf(bytes, areAll) {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: !areAll });
    return "utf-8";
  } catch { return "windows-1252"; }
}

/** Yield the texts of a file, piece by piece, and the bytes read so far. */
export async function* pieces(file, encoding) {
  const decoder = new TextDecoder(encoding); // which leaves a byte order mark out
  const reader = file.stream().getReader();
  let bytes = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.length;
      yield [decoder.decode(part.value, { stream: true }), bytes];
    }
    yield [decoder.decode(), bytes];
  } finally { reader.cancel().catch(() => {}); }
}
