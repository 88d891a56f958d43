import { invalid } from "../../lib/errors.ts";
import { cidrText, masked, overlaps, type ParsedCidr, parseCidr } from "../../lib/net.ts";

/** Prefix length of one network's subnet, 24 unless told. @throws {EngineError} invalid, Docker's text, above 29 */
export function readSubnetSize(size: number | null | undefined): number {
  if (size && size > 29) throw invalid(`subnet size is out of range: ${size}`);
  return size || 24;
}

/**
 * Blocks that overlay networks' subnets are cut from, 10.0.0.0/8 unless told; the bits below a prefix are cleared.
 * @throws {EngineError} invalid, with Docker's texts (moby daemon/cluster/listen_addr.go, validateDefaultAddrPool), for
 *   what is no IPv4 block, has no room for one subnet, or overlaps another pool
 */
export function readPools(texts: readonly string[], subnetSize: number): string[] {
  const pools = (texts.length > 0 ? texts : ["10.0.0.0/8"]).map((text) => readPool(text, subnetSize));
  for (const [at, pool] of pools.entries()) {
    const other = pools.slice(0, at).find((earlier) => overlaps(earlier, pool));
    if (other) throw invalid(`invalid base pool ${cidrText(pool)}: it overlaps ${cidrText(other)}`);
  }
  return pools.map(cidrText);
}

function readPool(text: string, subnetSize: number): ParsedCidr {
  const pool = parseCidr(text);
  if (pool === undefined) throw invalid(`invalid base pool ${text}: invalid CIDR address: ${text}`);
  if (pool.family === 6) throw invalid(`invalid base pool ${text}: it must be an IPv4 block`);
  if (subnetSize < pool.prefix)
    throw invalid(`invalid CIDR: ${JSON.stringify(text)}. Subnet size is too small for pool: ${subnetSize}`);
  return masked(pool);
}
