import { constants } from "node:os";
import koffi from "koffi";
import { KernelError } from "./kernel.ts";

const libc = koffi.load("libc.so.6");

const socketFilter = koffi.struct("sock_fprog", { len: "uint16", filter: "void*" });

/** Calls that Node does not have. All of them are synchronous; -1 means that `errno` says why. */
export const calls = {
  socket: libc.func("int socket(int, int, int)"),
  bind: libc.func("int bind(int, void*, uint)"),
  connect: libc.func("int connect(int, void*, uint)"),
  listen: libc.func("int listen(int, int)"),
  send: libc.func("long send(int, void*, size_t, int)"),
  recv: libc.func("long recv(int, void*, size_t, int)"),
  setsockopt: libc.func("int setsockopt(int, int, int, void*, uint)"),
  /** SO_ATTACH_FILTER takes a structure with a pointer in it. */
  attachFilter: libc.func("setsockopt", "int", ["int", "int", "int", koffi.pointer(socketFilter), "uint"]),
  socketpair: libc.func("int socketpair(int, int, int, void*)"),
  dup3: libc.func("int dup3(int, int, int)"),
  close: libc.func("int close(int)"),
  setns: libc.func("int setns(int, int)"),
  unshare: libc.func("int unshare(int)"),
  mount: libc.func("int mount(const char*, const char*, const char*, ulong, const char*)"),
  umount2: libc.func("int umount2(const char*, int)"),
  mallocTrim: libc.func("int malloc_trim(size_t)"),
};
const strerror = libc.func("const char* strerror(int)");

/** Node knows the errnos of libuv; these are the others that netlink answers with (include/uapi/asm-generic/errno.h). */
const rest = { EXFULL: 54, ENOTUNIQ: 76, ESOCKTNOSUPPORT: 94, ENOTSUPP: 524 };
const names = new Map(Object.entries({ ...constants.errno, ...rest }).map(([name, number]) => [number, name]));
const byText = new Map([...names].map(([number, name]) => [strerror(number) as string, name]));

/** `ENOENT` for 2; `E77` for a number without a name here. */
export const errnoName = (number: number): string => names.get(number) ?? `E${number}`;
/** `No such file or directory` for 2, as strerror(3) has it. */
export const errnoText = (number: number): string => strerror(number) as string;
/** The errno's name whose strerror(3) text begins `text`. */
export const errnoOfText = (text: string): string | undefined =>
  byText.get(text) ?? [...byText].find(([message]) => text.startsWith(`${message};`))?.[1];

/** The errno of the call just made. */
export const lastErrno = (): number => koffi.errno();

/** @returns `result` when it is not negative. @throws {KernelError} with the errno of the call just made */
export function check(what: string, result: unknown): number {
  const number = Number(result);
  if (number >= 0) return number;
  const errno = lastErrno();
  throw new KernelError(errnoName(errno), `${what}: ${errnoText(errno)}`);
}
