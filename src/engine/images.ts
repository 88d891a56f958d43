import { EngineError } from "../lib/errors.ts";
import { familiar } from "../runtime/images/reference.ts";
import type { Engine } from "./engine.ts";
import { checkFilters, passesLabels, untilTime } from "./filters.ts";
import type { Parts } from "./parts.ts";

/** The verbs of `docker image`: the runtime's, with what the engine knows of containers, and told to `docker events`. */
export function createEngineImages(parts: Parts): Engine["images"] {
  const { images } = parts.runtime;
  const holder = (imageId: string) =>
    parts.store
      .snapshot()
      .list("containers")
      .find((c) => c.spec.imageId === imageId)?.id;
  const publish = (action: string, id: string, name = id) =>
    parts.bus.publish({ type: "image", action, id, attributes: { name } });
  return {
    list: () => images.list(),
    find: (reference, platform) => images.find(reference, platform),
    distribution: (reference, auth, signal) => images.distribution(reference, auth, signal),
    push: (reference, auth, onProgress, signal) => images.push(reference, auth, onProgress, signal),
    load: (archive, onProgress) => images.load(archive, onProgress),
    save: (references) => images.save(references),
    login: (auth) => images.login(auth),
    async pull(reference, options, onProgress, signal) {
      await images.pull(reference, options, onProgress, signal);
      publish("pull", reference);
    },
    async import(archive, options) {
      const id = await images.import(archive, options);
      publish("import", id, options.reference ?? id);
      return id;
    },
    async tag(source, target) {
      await images.tag(source, target);
      publish("tag", (await images.find(target)).id, familiar(target));
    },
    async remove(reference, force) {
      const done = await images.remove(reference, { force, inUse: holder });
      for (const step of done)
        if ("deleted" in step) publish("delete", step.deleted);
        else publish("untag", step.untagged);
      return done;
    },
    async prune(filters) {
      checkFilters(filters, ["dangling", "until", "label", "label!"]);
      const danglingOnly = !(filters.get("dangling") ?? []).some((v) => /^(0|f|false)$/i.test(v));
      const until = untilTime(filters);
      const done = [];
      let freed = 0;
      for (const image of await images.list()) {
        if (danglingOnly && image.tags.length > 0) continue;
        if (holder(image.id) !== undefined || Date.parse(image.createdAt) > until) continue;
        if (!passesLabels(filters, image.config.Labels ?? {})) continue;
        try {
          done.push(...(await images.remove(image.id, { force: true, inUse: holder })));
          freed += image.size;
        } catch (error) {
          if (!(error instanceof EngineError) || error.class !== "conflict") throw error; // taken meanwhile
        }
      }
      return { done, freed };
    },
  };
}
