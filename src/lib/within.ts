/** Waits for `done`, so long at most. @param milliseconds negative: without end @returns false when it was too long */
export async function within(done: Promise<unknown>, milliseconds: number): Promise<boolean> {
  if (milliseconds < 0) return done.then(() => true);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
