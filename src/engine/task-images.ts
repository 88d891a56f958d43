import { conflict, EngineError, system, unavailable } from "../lib/errors.ts";
import type { Task, TaskId } from "../model/service.ts";
import type { Engine } from "./engine.ts";
import type { Parts } from "./parts.ts";
import { readRegistryAuth } from "./registry-auth.ts";

/** An image on its way, and the tasks that wait for it. */
interface Pull {
  readonly done: Promise<void>;
  readonly end: AbortController;
  readonly users: Map<TaskId, PromiseWithResolvers<never>>;
}

/** The images that tasks need. Tasks of one image and one login wait for one pull, which ends with the last that wants it. */
export class TaskImages {
  readonly #images: Pick<Engine["images"], "find" | "pull">;
  readonly #replica: Pick<Parts["replica"], "registryAuth">;
  /** By image and login: nobody is refused for what another one has shown. */
  readonly #pulls = new Map<string, Pull>();

  constructor(images: Pick<Engine["images"], "find" | "pull">, replica: Pick<Parts["replica"], "registryAuth">) {
    this.#images = images;
    this.#replica = replica;
  }

  /**
   * Resolves when the image is here.
   * @throws {EngineError} that there is no such image, in Docker's words, and what the registry said; unavailable while the login
   * to it has not come; conflict when the task is called off
   */
  async need({ id, template }: Task): Promise<void> {
    const { image } = template.container;
    const missing = await this.#missing(image);
    if (missing === undefined) return;
    const auth = template.registryAuth === undefined ? "" : this.#replica.registryAuth(id);
    if (auth === undefined) throw unavailable("the login to the registry has not come from a manager yet");
    const key = JSON.stringify([image, auth]);
    const pull = this.#pulls.get(key) ?? this.#begin(key, image, auth, missing);
    const called = Promise.withResolvers<never>();
    pull.users.set(id, called);
    try {
      await Promise.race([pull.done, called.promise]);
    } finally {
      pull.users.delete(id);
    }
  }

  /** The task is not to run any more. */
  cancel(id: TaskId): void {
    for (const [key, { users, end }] of this.#pulls) {
      const called = users.get(id);
      if (called === undefined) continue;
      users.delete(id);
      called.reject(conflict("the task is not to run any more"));
      if (users.size > 0) continue;
      this.#pulls.delete(key); // who comes now begins another one
      end.abort();
    }
  }

  stop(): void {
    for (const { end } of this.#pulls.values()) end.abort();
  }

  /** @returns what is said of an image that is not here */
  async #missing(image: string): Promise<string | undefined> {
    try {
      await this.#images.find(image);
      return undefined;
    } catch (error) {
      if (error instanceof EngineError && error.class === "not-found") return error.message;
      throw error;
    }
  }

  #begin(key: string, image: string, text: string, missing: string): Pull {
    const end = new AbortController();
    const auth = readRegistryAuth(text);
    const done = this.#images
      .pull(image, auth === undefined ? {} : { auth }, () => {}, end.signal)
      .catch((error: unknown) => {
        // Another node may have the image, or reach the registry: that is not waited for here.
        throw error instanceof EngineError ? system(`${missing}: ${error.message}`, error) : error;
      })
      .finally(() => {
        if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
      });
    done.catch(() => {}); // when nobody waits any more
    const pull = { done, end, users: new Map<TaskId, PromiseWithResolvers<never>>() };
    this.#pulls.set(key, pull);
    return pull;
  }
}
