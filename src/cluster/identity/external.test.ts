import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { describe, it } from "node:test";
import { askToSign, checkExternal, ExternalError, reach, shownUrl } from "./external.ts";
import { startCa, type CaOptions } from "./external-testing.ts";
import { crossSignRequest, nodeSignRequest } from "./external-requests.ts";
import { createRequest, newKey } from "./csr.ts";
import { newSwarmId } from "./names.ts";
import { createRoot } from "./root.ts";
import { clusterId, ecKey, foreignRoot, node, rsaKey } from "./testing.ts";
import { calmTime } from "../../../test/support/until.ts";

const identity = { nodeId: newSwarmId(), role: "manager", clusterId } as const;
const body = nodeSignRequest(createRequest(newKey()), identity);
const refused = (message: RegExp | string) => (error: unknown) => {
  assert.ok(error instanceof ExternalError, String(error));
  if (typeof message === "string") assert.equal(error.message, message);
  else assert.match(error.message, message);
  return true;
};
/** Asks a CA that answers in its own way. */
async function asked(options: CaOptions) {
  await using ca = await startCa(options);
  return await askToSign(ca.url, body, { roots: ca.root.certificate });
}

it("an external CA speaks cfssl over https", () => {
  const check = (protocol: string, url: string) => () => checkExternal({ protocol, url });
  check("CFSSL", "https://ca.example:8888/sign")();
  assert.throws(check("acme", "https://ca.example"), {
    class: "invalid",
    message: /unrecognized external CA protocol/,
  });
  for (const url of ["http://ca.example", "ca.example", ""]) assert.throws(check("cfssl", url), { class: "invalid" });
  assert.equal(shownUrl("https://user:secret@ca.example:1/sign?key=secret"), "https://ca.example:1/sign");
});

describe("asking an external CA", () => {
  it("it is told what the certificate has to say, and by whom, and answers a certificate", async () => {
    await using ca = await startCa();
    const trust = { roots: ca.root.certificate };
    const own = node({ root: ca.root });
    assert.match(await askToSign(ca.url, body, trust), /BEGIN CERTIFICATE/);
    await askToSign(ca.url, body, { ...trust, own: { key: own.key, certificate: own.cert } });
    assert.deepEqual(
      ca.requests.map(({ by }) => by),
      ["", own.subject.nodeId],
    );
    const { certificate_request: csr, by: _, ...others } = ca.requests[0] ?? assert.fail();
    assert.match(csr, /^-----BEGIN CERTIFICATE REQUEST/);
    assert.deepEqual(others, {
      hosts: ["swarm-manager", identity.nodeId, "tombolo-manager"],
      subject: { CN: identity.nodeId, names: [{ OU: "swarm-manager", O: clusterId }] },
    });
  });

  it("a server of another root, or of another name, is sent nothing", async () => {
    await using ca = await startCa({ names: ["ca.example"] });
    const other = { roots: createRoot().certificate };
    for (const ask of [(t: typeof other) => askToSign(ca.url, body, t), (t: typeof other) => reach(ca.url, t)]) {
      await assert.rejects(ask(other), refused(/unable to (verify|get)|self-signed/));
      await assert.rejects(ask({ roots: ca.root.certificate }), refused(/IP: 127\.0\.0\.1 is not in the cert's list/));
    }
    assert.deepEqual(ca.requests, []);
  });

  it("who asks for a certificate and gets none, or a wrong one, says so", async () => {
    await using ca = await startCa({ mutual: true });
    const trust = { roots: ca.root.certificate };
    const other = node({ root: createRoot() });
    await assert.rejects(askToSign(ca.url, body, trust), refused(/alert|socket hang up|ECONNRESET/));
    const own = { key: other.key, certificate: other.cert };
    await assert.rejects(askToSign(ca.url, body, { ...trust, own }), refused(/alert|socket hang up|ECONNRESET/));
    assert.deepEqual(ca.requests, []);
  });

  it("what it says of a failure is told, without what could do harm on a terminal", async () => {
    const said = (text: string) =>
      JSON.stringify({ success: false, result: null, errors: [{ code: 1, message: text }] });
    await assert.rejects(
      asked({ answer: () => [400, said("no such\u001b[31m profile\n")] }),
      refused("it said: no such [31m profile "),
    );
    await assert.rejects(asked({ answer: () => [500, "oops"] }), refused("it answered 500 without a certificate"));
    for (const answer of ["", "{}", '{"success":true}', '{"success":true,"result":{"certificate":7}}', "[]"])
      await assert.rejects(asked({ answer: () => [200, answer] }), refused("it answered 200 without a certificate"));
    await assert.rejects(asked({ answer: () => [200, "x".repeat(300_000)] }), refused(/longer than 262144 bytes/));
    await assert.rejects(asked({ answer: () => [200, said("x".repeat(999))] }), refused(/^it said: x{200}$/));
  });

  it("one that does not answer is given up after five seconds, and at once when the caller is", async () => {
    const [began, calm] = [performance.now(), calmTime()];
    await assert.rejects(asked({ answer: () => "silence" }), refused("no answer within 5 s"));
    const [took, calmly] = [performance.now() - began, calmTime() - calm];
    assert.ok(took > 4900 && calmly < 7000, `${took} ms`);
    await using ca = await startCa({ answer: () => "silence" });
    const off = AbortSignal.timeout(50);
    await assert.rejects(askToSign(ca.url, body, { roots: ca.root.certificate }, off), { name: "TimeoutError" });
  });

  it("one that is not there, and one that is no TLS server, are told apart", async () => {
    const { url, root } = await (async () => {
      await using ca = await startCa();
      return ca;
    })();
    const trust = { roots: root.certificate };
    await assert.rejects(askToSign(url, body, trust), refused(/ECONNREFUSED/));
    await assert.rejects(reach(url, trust), refused(/ECONNREFUSED/));
    const server = createServer((socket) => socket.once("data", () => socket.end("220 mail.example\r\n")));
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { port } = server.address() as { port: number };
    await assert.rejects(askToSign(`https://127.0.0.1:${port}/`, body, trust), refused(/wrong version number|packet/));
    server.close();
  });

  it("reached is one whose certificate is right", async () => {
    await using ca = await startCa();
    await reach(ca.url, { roots: ca.root.certificate });
    assert.deepEqual(ca.requests, []);
  });
});

it("the request for a cross certificate is one that openssl verifies, for each kind of key", async () => {
  const subject = "CN=Ours, OU=One, OU=Two, O=Example Ltd, C=DE";
  const keys = { "P-256": newKey(), "P-384": ecKey("secp384r1"), RSA: rsaKey(2048) };
  for (const [kind, key] of Object.entries(keys)) {
    const root = await foreignRoot({ key, subject });
    const request = crossSignRequest(root) as { readonly certificate_request: string; readonly extensions: unknown };
    const flags = ["req", "-verify", "-noout", "-text"];
    const text = execFileSync("/usr/bin/openssl", flags, {
      input: request.certificate_request,
      stdio: "pipe",
    }).toString();
    assert.match(text, /Subject: CN = Ours, OU = One, OU = Two, O = Example Ltd, C = DE/, kind);
    assert.match(text, /X509v3 Basic Constraints: critical\s+CA:TRUE/);
    const names = [{ OU: "One" }, { OU: "Two" }, { O: "Example Ltd" }, { C: "DE" }];
    const extensions = [{ id: "2.5.29.19", critical: true, value: "30030101ff" }];
    assert.deepEqual(request, {
      certificate_request: request.certificate_request,
      subject: { CN: "Ours", names },
      profile: "CA",
      extensions,
    });
  }
});
