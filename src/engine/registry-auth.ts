import type { RegistryAuth } from "../runtime/runtime.ts";

const fields = ["username", "password", "identitytoken", "registrytoken", "serveraddress"] as const;

/** What a client shows to a registry: JSON in base64url, as it is sent. What cannot be read counts as absent, as with Docker. */
export function readRegistryAuth(text: string): RegistryAuth | undefined {
  if (text === "") return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const entries = Object.entries(value).filter(
      ([key, one]) => (fields as readonly string[]).includes(key) && typeof one === "string" && one !== "",
    );
    return entries.length > 0 ? (Object.fromEntries(entries) as RegistryAuth) : undefined;
  } catch {
    return undefined;
  }
}
