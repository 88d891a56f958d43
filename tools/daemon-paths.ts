/** Where `make run` keeps what it starts: the daemon's defaults. */
export const paths = {
  socket: "/run/tombolo/docker.sock",
  pidfile: "/run/tombolo/tombolod.pid",
  execRoot: "/run/tombolo",
  dataRoot: "/var/lib/tombolo",
  log: "/var/log/tombolod.log",
} as const;
/** Label of everything that the tour makes. */
export const tourLabel = "tombolo.tour";
