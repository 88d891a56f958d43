import { invalid } from "./errors.ts";

/** What a template may name: texts, by paths. */
export type Words = string | { readonly [name: string]: Words };
/** What a template may call. */
export type Functions = Readonly<Record<string, (...operands: readonly Words[]) => string>>;

type Operand = { readonly path: readonly string[] } | { readonly text: string };
interface Action {
  /** As it was typed, for refusals. */
  readonly source: string;
  readonly call: string | undefined;
  readonly operands: readonly Operand[];
}
/** A text with words in `{{ }}`, read. */
export type Template = readonly (string | Action)[];

const action = /\{\{(-\s)?((?:\/\*[\s\S]*?\*\/|"(?:[^"\\]|\\.)*"|`[^`]*`|[^"`])*?)(\s-)?\}\}/y;
const token = /\s*(?:(\.\w+(?:\.\w+)*)|("(?:[^"\\]|\\.)*")|`([^`]*)`|(\w+))(?=\s|$)/y;

/**
 * Reads the part of Go's text/template that tasks need: `{{.Task.Slot}}`, `{{"text"}}`, `{{join "-" .Node.ID .Task.Slot}}`, comments,
 * and `{{- -}}`, which take the white space beside them.
 * @throws {EngineError} invalid, with Go's texts where it has one
 */
export function parseTemplate(text: string): Template {
  const parts: (string | Action)[] = [];
  let at = 0;
  let trimsNext = false;
  const keep = (literal: string, trimsEnd: boolean) => {
    const begun = trimsNext ? literal.trimStart() : literal;
    const kept = trimsEnd ? begun.trimEnd() : begun;
    if (kept !== "") parts.push(kept);
  };
  for (let open = text.indexOf("{{"); open >= 0; open = text.indexOf("{{", at)) {
    action.lastIndex = open;
    const match = action.exec(text);
    if (match === null) throw invalid(`template: expansion:${lineOf(text, open)}: unclosed action`);
    const [source, left, body = "", right] = match;
    keep(text.slice(at, open), left !== undefined);
    if (!/^\s*\/\*[\s\S]*\*\/\s*$/.test(body)) parts.push(parseAction(source, body));
    trimsNext = right !== undefined;
    at = action.lastIndex;
  }
  keep(text.slice(at), false);
  return parts;
}

const lineOf = (text: string, at: number) => text.slice(0, at).split("\n").length;

function parseAction(source: string, body: string): Action {
  const operands: Operand[] = [];
  let call: string | undefined;
  const end = body.trimEnd().length;
  for (token.lastIndex = 0; token.lastIndex < end; ) {
    const match = token.exec(body);
    if (match === null) throw invalid(`template: ${source}: only fields, texts and calls of functions are understood`);
    const [, path, quoted, raw, name] = match;
    if (path !== undefined) operands.push({ path: path.slice(1).split(".") });
    else if (quoted !== undefined) operands.push({ text: unquoted(source, quoted) });
    else if (raw !== undefined) operands.push({ text: raw });
    else if (call === undefined && operands.length === 0) call = name;
    else throw invalid(`template: ${source}: only fields, texts and calls of functions are understood`);
  }
  if (operands.length === 0 && call === undefined) throw invalid("template: expansion:1: missing value for command");
  if (call === undefined && operands.length > 1) throw invalid(`template: ${source}: one value is wanted`);
  return { source, call, operands };
}

function unquoted(source: string, quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw invalid(`template: ${source}: the text is malformed`);
  }
}

/** @throws {EngineError} invalid, for a field or a function that there is not, naming those that there are */
export function fillIn(template: Template, words: Words, functions: Functions = {}): string {
  const known: Functions = { index, join, ...functions };
  return template.map((part) => (typeof part === "string" ? part : evaluate(part, words, known))).join("");
}

function evaluate({ source, call, operands }: Action, words: Words, functions: Functions): string {
  const values = operands.map((operand) => ("text" in operand ? operand.text : valueAt(words, operand.path)));
  const called = call !== undefined && Object.hasOwn(functions, call) ? functions[call] : undefined;
  if (call !== undefined && called === undefined)
    throw invalid(`template: expansion:1: function ${JSON.stringify(call)} not defined`);
  const value = called === undefined ? values[0] : called(...values);
  if (typeof value !== "string") throw invalid(`template: ${source} is no text`);
  return value;
}

/** The refusal has the path alone: a text beside it may be a part of a secret. */
function valueAt(words: Words, path: readonly string[]): Words {
  return path.reduce<Words>((value, name) => {
    const found = typeof value === "object" && Object.hasOwn(value, name) ? value[name] : undefined;
    if (found === undefined)
      throw invalid(`template: {{.${path.join(".")}}} is not known: ${pathsOf(words).join(", ")} are`);
    return found;
  }, words);
}

const pathsOf = (words: Words, path = ""): string[] =>
  typeof words === "string"
    ? [path]
    : Object.entries(words).flatMap(([name, value]) => pathsOf(value, `${path}.${name}`));

/** Go's `index` of a map: "" for what is not in it. */
function index(map: Words = "", key: Words = ""): string {
  if (typeof map !== "object" || typeof key !== "string") throw invalid("template: index wants a map and a key");
  const value = Object.hasOwn(map, key) ? map[key] : "";
  return typeof value === "string" ? value : "";
}

/** The first text stands between the others (moby/swarmkit template/template.go). */
function join(...operands: readonly Words[]): string {
  if (!operands.every((operand) => typeof operand === "string")) throw invalid("template: join wants texts");
  return operands.slice(1).join(operands[0] ?? "");
}
