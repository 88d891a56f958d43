import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { NamespaceName, SysctlObject } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import type { Namespaces } from "../namespaces.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";

/** `net.ipv4.conf.eth0/5.x` is the file `net/ipv4/conf/eth0.5/x`. */
export const sysctlPath = (key: string): string =>
  `/proc/sys/${key.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."))}`;

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "this kernel has no such key here",
  EINVAL: "the kernel does not take this value",
  EACCES: "it cannot be written",
  EPERM: "it may not be written",
};

/** What the keys are like that switch IPv6 off, on a link on which Linux has none: its MTU is too small (net/ipv6/addrconf.c). */
function withoutIpv6(key: string): { readonly link: string; readonly value: string } | undefined {
  const [, link = "", name] = /^net\.ipv6\.conf\.([^.]+)\.(disable_ipv6|accept_ra)$/.exec(key) ?? [];
  const has = (family: string) => existsSync(sysctlPath(`net.${family}.conf.${link}.forwarding`));
  if (name === undefined || has("ipv6") || !has("ipv4")) return undefined;
  return { link: link.replaceAll("/", "."), value: name === "disable_ipv6" ? "1" : "0" };
}

/** Writes `value` when there is one. @returns the value as it is then @throws {KernelError} ENOENT, EINVAL … */
export function sysctl(namespaces: Namespaces, namespace: NamespaceName, key: string, value?: string): string {
  if (/(^|[./])\.|\.\.|\0/.test(key)) throw new KernelError("ENOENT", `sysctl ${key}: no such key`);
  return namespaces.inside(namespace, () => {
    try {
      // Without creation: a key that the kernel does not know must not look like a file to be made.
      if (value !== undefined) writeFileSync(sysctlPath(key), value, { flag: "r+" });
      return readFileSync(sysctlPath(key), "utf8").trim();
    } catch (error) {
      const { code = "EIO" } = error as NodeJS.ErrnoException;
      const off = code === "ENOENT" ? withoutIpv6(key) : undefined;
      if (off !== undefined && (value === undefined || value === off.value)) return off.value;
      if (off !== undefined)
        throw new KernelError(
          "ENOENT",
          `there is no IPv6 on ${off.link}: it needs an MTU of 1280 bytes (RFC 8200 section 5)`,
        );
      throw new KernelError(code, `sysctl ${key}${value === undefined ? "" : `=${value}`}: ${reasons[code] ?? code}`);
    }
  });
}

/**
 * A sysctl carries no mark: those that this process set are listed, as they are now. One of a link that is gone is gone
 * with it; removing gives nothing back, for nobody knows what it was before.
 */
export function sysctlHandler(namespaces: Namespaces): Handler<SysctlObject> {
  const wishes = createWishes<SysctlObject>();
  const read = (namespace: NamespaceName, key: string) => {
    try {
      return sysctl(namespaces, namespace, key);
    } catch {
      return undefined;
    }
  };
  return {
    put(object, owner) {
      sysctl(namespaces, object.namespace, object.key, object.value);
      wishes.remember(object, owner);
    },
    remove: (object) => wishes.forget(object),
    list: (namespace) =>
      [...wishes.all()]
        .filter(({ object }) => object.namespace === namespace)
        .flatMap(({ object, owner }) => {
          const value = read(namespace, object.key);
          return value === undefined ? [] : [{ object: { ...object, value }, owner }];
        }),
  };
}
