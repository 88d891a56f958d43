import { readFileSync, writeFileSync } from "node:fs";
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
