import koffi from "koffi";
import { KernelError } from "../kernel.ts";
import { calls, errnoOfText } from "../libc.ts";
import { RouteSocket } from "../netlink/socket.ts";
import { LowDescriptors } from "./descriptors.ts";

/** The library is loaded when the first context is made, so that what needs no nftables runs without it. */
function load() {
  const lib = koffi.load("libnftables.so.1");
  return {
    make: lib.func("void* nft_ctx_new(uint32_t)"),
    free: lib.func("void nft_ctx_free(void*)"),
    bufferOutput: lib.func("int nft_ctx_buffer_output(void*)"),
    bufferError: lib.func("int nft_ctx_buffer_error(void*)"),
    output: lib.func("const char* nft_ctx_get_output_buffer(void*)"),
    error: lib.func("const char* nft_ctx_get_error_buffer(void*)"),
    run: lib.func("int nft_run_cmd_from_buffer(void*, const char*)"),
    setFlags: lib.func("void nft_ctx_output_set_flags(void*, uint)"),
  };
}
let library: ReturnType<typeof load> | undefined;
let descriptors: LowDescriptors | undefined;
/** How many more contexts may be made before others are closed. */
export const contextsLeft = () => descriptors?.left ?? Number.POSITIVE_INFINITY;

/** How a listing is written (NFT_CTX_OUTPUT_* in nftables/libnftables.h). */
export const output = { stateless: 1 << 2, json: 1 << 4, terse: 1 << 11 } as const;

/**
 * libnftables, in the namespace in which this thread was when it was made. Keep it: closing one right after a
 * transaction waits for the kernel (9–13 ms).
 */
export class Nft {
  readonly #lib: ReturnType<typeof load>;
  readonly #context: unknown;

  /** @throws {KernelError} EMFILE … */
  constructor() {
    this.#lib = library ??= load();
    // Without a free descriptor libnftables ends the process: have an error instead.
    new RouteSocket().close();
    descriptors ??= new LowDescriptors();
    const context = descriptors.lend((): unknown => this.#lib.make(0));
    if (context === null) throw new KernelError("ENOMEM", "nftables: no context");
    this.#lib.bufferOutput(context);
    this.#lib.bufferError(context);
    this.#context = context;
  }

  /**
   * Runs commands as one transaction: all of them or none.
   * @returns what the commands listed @throws {KernelError} with nft's first line of complaint; EINVAL for what it could not read
   */
  run(commands: string, flags = 0): string {
    this.#lib.setFlags(this.#context, flags);
    const result = this.#lib.run(this.#context, commands) as number;
    // Both buffers are emptied by reading.
    const printed = (this.#lib.output(this.#context) as string | null) ?? "";
    const complaint = (this.#lib.error(this.#context) as string | null) ?? "";
    if (result !== 0) throw refusal(complaint);
    return printed;
  }

  /** A listing of 10,000 elements leaves 20 MiB free in pieces: they go back to the system. */
  close(): void {
    this.#lib.free(this.#context);
    calls.mallocTrim(0);
    descriptors?.giveBack();
  }
}

/** nft says the errno in words, or its own reason. */
export function refusal(complaint: string): KernelError {
  const line = complaint.split("\n")[0]?.replace(/^.*?Error: /, "") ?? "";
  const reason = line.replace("Could not process rule: ", "");
  const code = errnoOfText(reason) ?? (reason === "element does not exist" ? "ENOENT" : undefined);
  return new KernelError(code ?? (reason.startsWith("interval overlaps") ? "EEXIST" : "EINVAL"), `nftables: ${reason}`);
}
