import { invalid } from "../lib/errors.ts";
import type { Announcements } from "../model/lan.ts";
import { familyKeys, type OptionReader, readLinkName } from "./option-values.ts";

/** What networks on a LAN have in common, checked. */
export interface LanOptions {
  /** Absent: a segment of its own, without a way out. */
  readonly parent?: string;
  readonly mtu?: number;
  /** True: an address is asked for on the LAN before a container gets it. */
  readonly addressProbe: boolean;
  readonly announcements: Announcements;
}

const announcementKeys = {
  announcementNumber: "com.docker.network.advertise_addr_nmsgs",
  announcementInterval: "com.docker.network.advertise_addr_ms",
} as const;

/** Three times, a second apart, unless the user says otherwise. @throws {EngineError} invalid, with Docker's texts */
export function readAnnouncements(read: OptionReader): Announcements {
  const whole = (unit: string, least: number, most: number) => (key: string, value: string) => {
    if (!/^[+-]?\d+$/.test(value)) throw invalid(`value for option ${key} ${JSON.stringify(value)} must be ${unit}`);
    if (Number(value) < least || Number(value) > most) throw invalid(`${key} must be in the range ${least} to ${most}`);
    return Number(value);
  };
  return {
    number: read(announcementKeys.announcementNumber, whole("an integer", 0, 3)) ?? 3,
    interval: read(announcementKeys.announcementInterval, whole("integer milliseconds", 100, 2000)) ?? 1000,
  };
}

/** Keys of `-o` that every driver on a LAN honours, under the name the code has for it. */
export const lanKeys = {
  parent: "parent",
  addressProbe: "address_probe",
  ...announcementKeys,
  mtu: "com.docker.network.driver.mtu",
  prefix: "com.docker.network.container_iface_prefix",
  ...familyKeys,
} as const;

/** A link of the host's; which ones will not do is said later (drivers/parent.ts). @throws {EngineError} invalid */
export const readParent = (key: string, value: string) => (value === "lo" ? value : readLinkName(key, value));
