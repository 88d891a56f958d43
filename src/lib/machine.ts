const names: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

/** This machine's architecture as uname(1) and Docker call it, `x86_64`. */
export const architecture = names[process.arch] ?? process.arch;
