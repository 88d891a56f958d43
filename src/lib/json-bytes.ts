/** A value as JSON in UTF-8: how rows go over the wire. */
export const toJsonBytes = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** @throws {SyntaxError} for what is no JSON */
export const fromJsonBytes = <T>(bytes: Uint8Array): T => JSON.parse(new TextDecoder().decode(bytes)) as T;
