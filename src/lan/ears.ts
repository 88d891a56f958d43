import type { NamespaceName } from "../model/plan.ts";
import type { FrameFilter, FrameSocket, Kernel } from "../kernel/kernel.ts";

const idle = 60_000; // milliseconds that a socket is kept: the kernel takes some tens of them to close one

type Listener = (frame: Buffer) => void;
interface Ear {
  readonly socket: FrameSocket;
  readonly listeners: Set<Listener>;
  timer?: NodeJS.Timeout;
}

interface Place {
  readonly link: string;
  readonly filter: FrameFilter;
  readonly namespace: NamespaceName;
}

/** One who listens on a link, and may speak there. */
export interface Hearing {
  send(frame: Buffer): void;
  end(): void;
}

/** Sockets for frames, one a link and filter, shared by all who listen there and kept for a while after. */
export class Ears {
  readonly #kernel: Pick<Kernel, "frames" | "link">;
  readonly #open = new Map<string, Ear>();

  constructor(kernel: Pick<Kernel, "frames" | "link">) {
    this.#kernel = kernel;
  }

  /** @throws {KernelError} ENODEV without the link */
  listen(link: string, filter: FrameFilter, onFrame: Listener, namespace: NamespaceName = "host"): Hearing {
    // By index: another link may have the name by now.
    const key = `${namespace}|${filter}|${this.#kernel.link(namespace, link)?.index ?? link}`;
    const known = this.#open.get(key);
    // A link that was made anew has another socket.
    if (known?.socket.closed === true) this.#open.delete(key);
    const ear = this.#open.get(key) ?? this.#openEar(key, { link, filter, namespace });
    clearTimeout(ear.timer);
    ear.listeners.add(onFrame);
    return {
      send: (frame) => ear.socket.send(frame),
      end: () => {
        ear.listeners.delete(onFrame);
        if (ear.listeners.size > 0 || this.#open.get(key) !== ear) return;
        ear.timer = setTimeout(() => this.#close(key, ear), idle).unref();
      },
    };
  }

  #openEar(key: string, { link, filter, namespace }: Place): Ear {
    const listeners = new Set<Listener>();
    const hear = (frame: Buffer) => {
      for (const listener of listeners) listener(frame);
    };
    const socket = this.#kernel.frames(link, filter, hear, namespace);
    const ear: Ear = { socket, listeners };
    this.#open.set(key, ear);
    return ear;
  }

  #close(key: string, ear: Ear): void {
    clearTimeout(ear.timer);
    ear.socket.close();
    if (this.#open.get(key) === ear) this.#open.delete(key);
  }

  stop(): void {
    for (const [key, ear] of this.#open) this.#close(key, ear);
  }
}
