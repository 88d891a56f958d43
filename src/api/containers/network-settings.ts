import type { ContainerDetail } from "../../engine/engine.ts";
import type { PortBinding } from "../../model/endpoint.ts";
import { endpointSettingsJson } from "../networks/endpoint-settings.ts";

/** `Networks`: settings by network name. */
export function networksJson(detail: ContainerDetail): Record<string, object> {
  return Object.fromEntries(
    detail.networks.map((entry) => [entry.network?.spec.name ?? entry.attachment.network, endpointSettingsJson(entry)]),
  );
}

/** Ports that are bound on the host. */
export const bindingsOf = ({ ports }: ContainerDetail): readonly PortBinding[] =>
  ports.filter((port) => port.hostPort !== 0);

/**
 * `{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"443/tcp":null}`: null means exposed, not published; no host port means open
 * at the container's own address (moby daemon/network.go, getEndpointPortMapInfo).
 */
export function portMapJson(detail: ContainerDetail): object {
  const map: Record<string, { HostIp: string; HostPort: string }[] | null> = {};
  if (detail.sandboxKey === "") return map;
  for (const { port, protocol } of detail.container.spec.exposed) map[`${port}/${protocol}`] = null;
  for (const { containerPort, protocol, hostIp, hostPort } of detail.ports) {
    const key = `${containerPort}/${protocol}`;
    map[key] = [...(map[key] ?? []), { HostIp: hostIp, HostPort: hostPort === 0 ? "" : String(hostPort) }];
  }
  return map;
}

/** `NetworkSettings` of inspect. The fields beside `Networks` are those of the network `bridge` (until API 1.51). */
export function networkSettingsJson(detail: ContainerDetail): object {
  const networks = networksJson(detail);
  const bridge = (networks.bridge ?? {}) as Readonly<Record<string, unknown>>;
  const { sandboxKey, container } = detail;
  return {
    Bridge: "",
    SandboxID: sandboxKey === "" ? "" : container.id,
    SandboxKey: sandboxKey,
    Ports: portMapJson(detail),
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: bridge.EndpointID ?? "",
    Gateway: bridge.Gateway ?? "",
    GlobalIPv6Address: bridge.GlobalIPv6Address ?? "",
    GlobalIPv6PrefixLen: bridge.GlobalIPv6PrefixLen ?? 0,
    IPAddress: bridge.IPAddress ?? "",
    IPPrefixLen: bridge.IPPrefixLen ?? 0,
    IPv6Gateway: bridge.IPv6Gateway ?? "",
    MacAddress: bridge.MacAddress ?? "",
    Networks: networks,
  };
}
