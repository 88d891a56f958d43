/** What a lane and an agent say to each other: a line of JSON each, data in base64. */
export type Order =
  | { readonly id: number; readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> }
  | { readonly id: number; readonly input: string }
  | { readonly id: number; readonly endOfInput: true }
  | { readonly id: number; readonly signal: NodeJS.Signals };
export type Answer =
  | { readonly ready: true }
  | { readonly id: number; readonly stream: "stdout" | "stderr"; readonly data: string }
  /** 128 and the signal's number when a signal ended it, 127 when it could not be started. */
  | { readonly id: number; readonly status: number };
