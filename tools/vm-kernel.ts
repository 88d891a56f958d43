/**
 * Writes the ELF image that is packed in Debian's kernel for x86: an emulator starts it directly, a second sooner.
 *
 *   node tools/vm-kernel.ts VMLINUZ VMLINUX
 */
import { execFileSync } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** @throws when the kernel is not packed with LZ4, as Debian's cloud kernel is */
function unpackKernel(vmlinuz: Buffer): Buffer {
  // Documentation/arch/x86/boot.rst: sectors of the setup code at 0x1f1, offset and length of the payload at 0x248.
  const setupSectors = vmlinuz[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + vmlinuz.readUInt32LE(0x248);
  // The last four bytes are the length of the image, not LZ4's.
  const payload = vmlinuz.subarray(start, start + vmlinuz.readUInt32LE(0x24c) - 4);
  const magic = payload.toString("hex", 0, 4);
  if (magic !== "02214c18") throw new Error(`the kernel is not packed with LZ4: it begins with ${magic}`);
  const image = execFileSync("lz4", ["-dc"], { input: payload, maxBuffer: 1 << 30 });
  if (image.toString("latin1", 1, 4) !== "ELF") throw new Error("what is packed in the kernel is no ELF image");
  return image;
}

const [from = "", to = ""] = process.argv.slice(2);
writeFileSync(`${to}.new`, unpackKernel(readFileSync(from)));
renameSync(`${to}.new`, to);
