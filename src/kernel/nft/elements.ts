/** One element of a set or map of our table, in the words of a plan. */
export interface ListedElement {
  readonly set: string;
  readonly key: string;
  readonly value?: string;
  readonly comment?: string;
}

/** The parts of libnftables-json(5) that our sets and maps use. */
type Expression =
  | string
  | number
  | { readonly concat: readonly Expression[] }
  | { readonly prefix: { readonly addr: string; readonly len: number } }
  | { readonly range: readonly [Expression, Expression] }
  | { readonly elem: { readonly val: Expression; readonly comment?: string } }
  | Verdict;
type Verdict = Readonly<Record<string, { readonly target: string } | null>>;
interface ListedSet {
  readonly name: string;
  readonly type: string | readonly string[];
  readonly flags?: readonly string[];
  readonly elem?: readonly (Expression | readonly [Expression, Expression])[];
}

/** Reads the elements of `nft -j list table`. */
export function readElements(json: string): ListedElement[] {
  const { nftables } = JSON.parse(json) as { nftables: readonly Readonly<Record<string, ListedSet>>[] };
  return nftables.flatMap((entry) => {
    const set = entry["set"] ?? entry["map"];
    // What times out was written by rules: it is no plan's.
    if (set === undefined || set.flags?.includes("timeout") === true) return [];
    return (set.elem ?? []).map((element) => readElement(set, element));
  });
}

function readElement(set: ListedSet, element: Expression | readonly [Expression, Expression]): ListedElement {
  const pair: readonly (Expression | undefined)[] = isPair(element) ? element : [element];
  const [left = "", right] = pair;
  const wrapped = typeof left === "object" && "elem" in left && left.elem !== null ? (left as Wrapped).elem : undefined;
  return {
    set: set.name,
    key: keyText(set, wrapped?.val ?? left),
    ...(right !== undefined && { value: expressionText(right) }),
    ...(wrapped?.comment !== undefined && { comment: wrapped.comment }),
  };
}
type Concatenation = { readonly concat: readonly Expression[] };
type Wrapped = { readonly elem: { readonly val: Expression; readonly comment?: string } };
const isPair = (element: unknown): element is readonly [Expression, Expression] => Array.isArray(element);

/** Names of links stand in quotes. A subnet of one address is printed as the address: plans write subnets. */
function keyText(set: ListedSet, key: Expression): string {
  const parts = typeof key === "object" && "concat" in key ? (key as Concatenation).concat : [key];
  const types = typeof set.type === "string" ? [set.type] : set.type;
  const text = parts
    .map((part, at) => (types[at] === "ifname" ? `"${expressionText(part)}"` : expressionText(part)))
    .join(" . ");
  if (typeof key !== "string" || set.flags?.includes("interval") !== true) return text;
  return set.type === "ipv4_addr" ? `${text}/32` : set.type === "ipv6_addr" ? `${text}/128` : text;
}

function expressionText(e: Expression): string {
  if (typeof e !== "object") return String(e);
  if ("concat" in e) return (e as Concatenation).concat.map(expressionText).join(" . ");
  if ("prefix" in e) {
    const { addr, len } = (e as { prefix: { addr: string; len: number } }).prefix;
    return `${addr}/${len}`;
  }
  if ("range" in e) return (e as { range: readonly Expression[] }).range.map(expressionText).join("-");
  if ("elem" in e) return expressionText((e as Wrapped).elem.val);
  return Object.entries(e as Verdict)
    .map(([verdict, to]) => (to === null ? verdict : `${verdict} ${to.target}`))
    .join(" ");
}
