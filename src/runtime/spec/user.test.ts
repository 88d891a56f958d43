import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { findUser } from "./user.ts";

const layer = mkdtempSync(join(tmpdir(), "tombolo-user-"));
before(() => {
  mkdirSync(join(layer, "etc"));
  writeFileSync(join(layer, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nali:x:1000:100:Ali:/home/ali:/bin/sh\n");
  writeFileSync(join(layer, "etc/group"), "root:x:0:\nwheel:x:10:root,ali\ntty:x:5:\nusers:x:100:\naudio:x:29:ali\n");
});
after(() => rmSync(layer, { recursive: true }));

const found = (user: string, ...groupAdd: string[]) => {
  const { uid, gid, additionalGids } = findUser([layer], user, groupAdd).ids;
  return [uid, gid, ...(additionalGids ?? [])];
};

test("a user's own group is among the supplementary ones, with those of the image and of --group-add", () => {
  assert.deepEqual(found(""), [0, 0, 0, 10]);
  assert.deepEqual(found("0", "5"), [0, 0, 0, 10, 5]);
  assert.deepEqual(found("1000:1000"), [1000, 1000, 1000]);
  assert.deepEqual(found("ali"), [1000, 100, 100, 10, 29]);
  assert.deepEqual(found("1000", "tty", "100"), [1000, 100, 100, 10, 29, 5]);
  assert.deepEqual(found("ali:tty"), [1000, 5, 5]);
  assert.deepEqual(found("4711"), [4711, 0, 0]);
});

test("who is not there is told in runc's words", () => {
  assert.throws(() => found("bob"), { message: "unable to find user bob: no matching entries in passwd file" });
  assert.throws(() => found("ali:none"), { message: "unable to find group none: no matching entries in group file" });
});
