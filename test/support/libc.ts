import koffi from "koffi";

const libc = koffi.load("libc.so.6");

/** Calls that only tests make. As in src/kernel/libc.ts: -1 means that `errno` says why. */
export const calls = {
  getsockopt: libc.func("int getsockopt(int, int, int, void*, void*)"),
  nameToIndex: libc.func("uint if_nametoindex(const char*)"),
  schedGetcpu: libc.func("int sched_getcpu()"),
  schedSetaffinity: libc.func("int sched_setaffinity(int, size_t, void*)"),
};
