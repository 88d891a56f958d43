import { invalid } from "../lib/errors.ts";

/** Minor numbers of the API versions that are spoken: 1.24 to 1.50. */
export const oldest = 24;
export const newest = 50;

/** `/v1.44/info` split into version and path; a path without a version means the newest. */
export function splitVersion(path: string): { readonly major: number; readonly minor: number; readonly path: string } {
  const match = /^\/v(\d{1,4})\.(\d{1,4})(\/.*)$/.exec(path);
  return match === null
    ? { major: 1, minor: newest, path }
    : { major: Number(match[1]), minor: Number(match[2]), path: match[3] ?? "/" };
}

/** @throws {EngineError} invalid, with Docker's texts (moby api/server/middleware/version.go) */
export function checkVersion(major: number, minor: number): void {
  const text = `${major}.${minor}`;
  if (major > 1 || (major === 1 && minor > newest))
    throw invalid(`client version ${text} is too new. Maximum supported API version is 1.${newest}`);
  if (major < 1 || minor < oldest)
    throw invalid(
      `client version ${text} is too old. Minimum supported API version is 1.${oldest}, please upgrade your client to a newer version`,
    );
}
