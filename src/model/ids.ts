/** Names for strings that must not be mixed up by a reader. They are plain strings at run time. */
export type NetworkId = string; // 64 hex digits for local networks
export type EndpointId = string; // 64 hex digits
export type SandboxId = string; // 64 hex digits; a container's own sandbox has the container's id
export type ContainerId = string; // 64 hex digits
export type PoolId = string; // `${networkId}/${subnet}`
/** An address without a prefix, in canonical text: `10.0.0.1`, `fd00::1`. */
export type IpAddress = string;
/** An address or a network with a prefix length, in canonical text: `10.0.0.1/24`. */
export type Cidr = string;
/** `02:42:ac:11:00:02`, lower case. */
export type MacAddress = string;
