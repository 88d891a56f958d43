import type { SystemDetail } from "../../engine/engine.ts";

/** What a daemon says of itself. */
export const detail: SystemDetail = {
  id: "u-u-i-d",
  name: "shore",
  version: "0.1.0",
  containers: { total: 4, running: 2, paused: 1, stopped: 1 },
  images: 3,
  dataRoot: "/data",
  debug: true,
  labels: ["a=b"],
  driverNames: ["bridge", "host", "none"],
  addressPools: [{ base: "172.17.0.0/12", size: 20 }],
  warnings: ["mind this"],
  insecureRegistries: ["10.0.0.0/8", "reg:5000"],
  memory: 5,
  cpus: 2,
  kernelVersion: "6.18",
  operatingSystem: "Some Linux",
  osVersion: "12",
  cgroupVersion: "1",
  runtime: { containerd: "1.6.20", containerdCommit: "c0", runc: "1.1.5" },
  startedAt: "",
};
