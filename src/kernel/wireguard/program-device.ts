import { KernelError } from "../kernel.ts";
import { calls, check, errnoName, errnoText, lastErrno } from "../libc.ts";
import { keepalive, nowhere, type WireguardDevice, type WireguardPeer, type WireguardState } from "./device.ts";

/** Where wireguard-go has the socket of a device (golang.zx2c4.com/wireguard/ipc, socketDirectory). */
export const programSocket = (device: string): string => `/var/run/wireguard/${device}.sock`;

const family = 1; // AF_UNIX
const stream = 1 | 0o2000000; // SOCK_STREAM | SOCK_CLOEXEC
const solSocket = 1;
const timeouts = [20, 21] as const; // SO_RCVTIMEO, SO_SNDTIMEO
/** It answers in microseconds; one that stands still must not hold up the daemon: it is asked again after the rest. */
const [patience, rest] = [500, 5000]; // milliseconds
/** Until when a device is not asked, in milliseconds of `performance.now`. */
const silent = new Map<string, number>();
const interrupted = 4; // EINTR
const mostPath = 107; // bytes of sockaddr_un's path without its zero

/** Asks at once again: the program was started anew. */
export const forgetSilence = (device: string): void => void silent.delete(device);

/** As `exchange`, of a device that has answered lately. @throws {KernelError} EAGAIN for another */
function ask(device: string, request: string): string[] {
  const late = `wireguard-go does not answer for ${device}`;
  if ((silent.get(device) ?? 0) > performance.now()) throw new KernelError("EAGAIN", late);
  silent.delete(device);
  try {
    return exchange(device, request);
  } catch (error) {
    // The two are one number on Linux.
    if (!(error instanceof KernelError) || !["EAGAIN", "EWOULDBLOCK"].includes(error.code)) throw error;
    silent.set(device, performance.now() + rest);
    throw new KernelError("EAGAIN", late);
  }
}

/**
 * One question in the text protocol of WireGuard's userspace implementations (https://www.wireguard.com/xplatform/), the
 * answer's lines without `errno=0`. @throws {KernelError} what it answered; ENOENT, ECONNREFUSED when nobody does
 */
function exchange(device: string, request: string): string[] {
  const fd = check("wireguard-go: socket", calls.socket(family, stream, 0));
  try {
    const time = Buffer.alloc(16);
    time.writeBigInt64LE(BigInt(patience) * 1000n, 8); // struct timeval
    for (const option of timeouts) calls.setsockopt(fd, solSocket, option, time, time.length);
    const path = Buffer.from(programSocket(device));
    if (path.length > mostPath) throw new KernelError("ENAMETOOLONG", `wireguard-go: ${path.toString()}`);
    const address = Buffer.concat([Buffer.from([family, 0]), path, Buffer.alloc(1)]);
    check("wireguard-go does not answer", calls.connect(fd, address, address.length));
    const bytes = Buffer.from(`${request}\n`);
    check("wireguard-go: send", calls.send(fd, bytes, bytes.length, 0));
    return checked(receive(fd));
  } finally {
    calls.close(fd);
  }
}

/** An answer ends with an empty line. */
function receive(fd: number): string[] {
  const part = Buffer.alloc(1 << 16);
  let text = "";
  while (!text.endsWith("\n\n")) {
    const received = Number(calls.recv(fd, part, part.length, 0));
    if (received < 0 && lastErrno() === interrupted) continue;
    const length = check("wireguard-go: receive", received);
    if (length === 0) throw new KernelError("EPIPE", "wireguard-go broke off");
    text += part.toString("utf8", 0, length);
  }
  part.fill(0); // there was the private key
  return text.trimEnd().split("\n");
}

function checked(lines: string[]): string[] {
  const errno = Math.abs(Number(lines.at(-1)?.replace("errno=", "") ?? 0));
  if (errno !== 0) throw new KernelError(errnoName(errno), `wireguard-go: ${errnoText(errno)}`);
  return lines.slice(0, -1);
}

const toHex = (key: string) => Buffer.from(key, "base64").toString("hex");
const toBase64 = (key: string) => Buffer.from(key, "hex").toString("base64");
const placeText = ({ address, udpPort }: WireguardPeer["endpoint"]) =>
  address.includes(":") ? `[${address}]:${udpPort}` : `${address}:${udpPort}`;

/** The device of that name that wireguard-go has, wherever the TUN device itself is. */
export function programDevice(device: string): WireguardDevice {
  const set = (...lines: string[]) => void ask(device, ["set=1", ...lines, ""].join("\n"));
  return {
    read: () => readAll(ask(device, "get=1\n")),
    setUp: (privateKey, udpPort) => set(`private_key=${privateKey.toString("hex")}`, `listen_port=${udpPort}`),
    putPeer: ({ publicKey, endpoint, address }, greets = true) =>
      set(
        `public_key=${toHex(publicKey)}`,
        "replace_allowed_ips=true",
        `endpoint=${placeText(endpoint)}`,
        `persistent_keepalive_interval=${greets ? keepalive : 0}`,
        `allowed_ip=${address}/${address.includes(":") ? 128 : 32}`,
      ),
    removePeer: (publicKey) => set(`public_key=${toHex(publicKey)}`, "remove=true"),
  };
}

/** Lines of the device, then those of each peer, which begin with its key. */
function readAll(lines: readonly string[]): WireguardState {
  const sections: [string, string][][] = [[]];
  for (const line of lines) {
    const at = line.indexOf("=");
    if (line.startsWith("public_key=")) sections.push([]);
    sections.at(-1)?.push([line.slice(0, at), line.slice(at + 1)]);
  }
  const [own = [], ...others] = sections;
  const key = own.find(([name]) => name === "private_key")?.[1];
  return {
    ...(key !== undefined && /[^0]/.test(key) && { privateKey: Buffer.from(key, "hex") }),
    udpPort: Number(own.find(([name]) => name === "listen_port")?.[1] ?? 0),
    peers: others.map(readPeer),
    answered: others
      .filter((lines) => /[^0]/.test(valuesOf(lines, "last_handshake_time_sec")[0] ?? ""))
      .map(publicKeyIn),
  };
}

type Lines = readonly (readonly [name: string, value: string])[];
const valuesOf = (lines: Lines, name: string) => lines.flatMap(([key, value]) => (key === name ? value : []));
const publicKeyIn = (lines: Lines) => toBase64(valuesOf(lines, "public_key")[0] ?? "");

function readPeer(lines: Lines): WireguardPeer {
  const of = (name: string) => valuesOf(lines, name);
  const [, bracketed, plain, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(of("endpoint")[0] ?? "") ?? [];
  const [first, ...more] = of("allowed_ip");
  const place = bracketed ?? plain;
  const [, own = ""] = /^(.*)\/(?:32|128)$/.exec(first ?? "") ?? [];
  return {
    publicKey: publicKeyIn(lines),
    endpoint: place === undefined ? nowhere : { address: place, udpPort: Number(port) },
    address: more.length > 0 ? "" : own,
  };
}
