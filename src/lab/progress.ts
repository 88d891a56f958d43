/** Something that takes a while, of which several go on at once. `say` tells what it is at. */
export interface Job {
  readonly title: string;
  work(say: (step: string) => void): Promise<void>;
}
/** Does jobs at once, and shows how they go. All have come to an end when it resolves or throws the first failure. */
export type Progress = (jobs: readonly Job[]) => Promise<void>;

/** Shows nothing. */
export const quiet: Progress = async (jobs) => {
  throwFirst(await Promise.allSettled(jobs.map((job) => job.work(() => {}))));
};

/** One line for each step. */
const plain: Progress = async (jobs) => {
  const say = (title: string) => (step: string) => console.log(`${title}: ${step}`);
  throwFirst(await Promise.allSettled(jobs.map((job) => job.work(say(job.title)))));
};

/** A line for each job, which changes. */
const lively: Progress = async (jobs) => {
  const { Listr } = await import("listr2"); // only where there is a terminal to draw on
  const results = jobs.map(() => Promise.withResolvers<void>());
  const ends = Promise.allSettled(results.map(({ promise }) => promise));
  const tasks = jobs.map((job, i) => ({
    title: job.title,
    task: (_: unknown, task: { title: string }) => {
      const done = job.work((step) => (task.title = `${job.title}: ${step}`));
      results[i]?.resolve(done);
      return done;
    },
  }));
  await new Listr(tasks, { concurrent: true, exitOnError: false, registerSignalListeners: false }).run();
  throwFirst(await ends);
};

/** What suits the standard output. */
export const progress = (): Progress => (process.stdout.isTTY ? lively : plain);

function throwFirst(results: readonly PromiseSettledResult<void>[]): void {
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
