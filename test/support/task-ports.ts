/** Where `task-server.ts` answers requests, and where it echoes. */
export const ports = { requests: 80, echo: 81 } as const;
