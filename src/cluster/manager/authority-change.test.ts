import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Cluster, ExternalAuthority, TrustedRoot } from "../../model/cluster.ts";
import { changedAuthority, firstRoot, withCurrentRoot } from "./authority-change.ts";
import { issue, startRotation, trustBundle } from "../identity/authority.ts";
import { chainOf, readCertificates } from "../identity/certificate.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { crossSign, startCa } from "../identity/external-testing.ts";
import { newSwarmId } from "../identity/names.ts";
import { createRoot } from "../identity/root.ts";
import { clusterId, day, foreignRoot, hour } from "../identity/testing.ts";
import { outside, withExternals } from "./outside-testing.ts";
import { newCluster } from "../testing.ts";

const own = newCluster();
const bare = ({ certificate }: TrustedRoot): TrustedRoot => ({ certificate });
const external = (certificate: string, url = "https://127.0.0.1:1/sign"): ExternalAuthority => ({
  protocol: "cfssl",
  url,
  options: {},
  certificate,
});
const begin = (externals: readonly ExternalAuthority[], signingRoot?: TrustedRoot) =>
  firstRoot({ spec: withExternals(own, externals).spec, signingRoot }, Date.now());
/** What becomes of a cluster's CA by what a user says; without new external CAs, those that it has. */
const change = (
  cluster: Cluster,
  wish: { externals?: readonly ExternalAuthority[]; root?: TrustedRoot; rotate?: boolean },
) => {
  const { spec } = wish.externals === undefined ? cluster : withExternals(cluster, wish.externals);
  const forceRotate = spec.certificates.forceRotate + (wish.rotate === true ? 1 : 0);
  const wished = { ...spec, certificates: { ...spec.certificates, forceRotate } };
  return changedAuthority(cluster, { spec: wished, signingRoot: wish.root }, { now: Date.now });
};
const none = (which: string) =>
  `there must be at least one valid, reachable external CA corresponding to the ${which} CA certificate`;

describe("the root that a swarm begins with", () => {
  it("is one of our own, the user's with its key, or the one of an external CA", () => {
    const root = createRoot();
    assert.notEqual(begin([]).key, undefined);
    assert.deepEqual(begin([], root), root);
    assert.deepEqual(begin([external(""), external(root.certificate)]), bare(root));
    assert.deepEqual(begin([external("")], bare(root)), bare(root));
  });

  it("has to be told with an external CA, be one, and be a good one", async () => {
    const refused = (externals: ExternalAuthority[], message: RegExp, root?: TrustedRoot) =>
      assert.throws(() => begin(externals, root), { class: "invalid", message });
    const { certificate } = createRoot();
    refused([external("")], /a new swarm needs its external CA's root: .*,cacert=FILE$/);
    refused([external("PEM")], /could not parse the desired CA certificate/);
    refused([external(certificate), external(createRoot().certificate)], /must all have its root as their cacert/);
    refused([external((await foreignRoot({ to: day })).certificate)], /CA certificate expires too soon/);
    refused([{ ...external(certificate), protocol: "acme" }], /unrecognized external CA protocol acme/);
    refused([external(certificate, "http://ca.example")], /must be an https URL/);
    refused([], new RegExp(`^${none("desired")}$`), { certificate });
  });

  it("an external CA without a certificate is one for the root of now", () => {
    const { certificate } = createRoot();
    const spec = withExternals(own, [external(""), external("PEM")]).spec;
    const kept = withCurrentRoot(spec, { certificate }).certificates.externalAuthorities;
    assert.deepEqual(
      kept.map((one) => one.certificate),
      [certificate, "PEM"],
    );
  });
});

describe("from a root of ours", () => {
  it("to an external one: signed by ours, its key nowhere, and only when it can be reached", async () => {
    await using ca = await startCa();
    const authority = await change(own, { externals: [ca.authority], root: bare(ca.root), rotate: true });
    assert.deepEqual([authority.root, authority.next], [own.authority.root, bare(ca.root)]);
    assert.match(authority.crossSigned ?? "", /BEGIN CERTIFICATE/);
    const dead = [external(ca.root.certificate)];
    for (const [externals, message] of [
      [[], new RegExp(`^${none("desired")}$`)],
      [[external("", ca.url)], new RegExp(`^${none("desired")}$`)],
      [dead, new RegExp(`^${none("desired")}: https://127\\.0\\.0\\.1:1/sign: connect ECONNREFUSED`)],
    ] as const)
      await assert.rejects(change(own, { externals, root: bare(ca.root) }), { class: "invalid", message });
    assert.deepEqual(ca.requests, []);
  });

  it("an external CA for the present root is taken as it is; the key can be given away, and taken back", async () => {
    const { root } = own.authority;
    assert.equal(await change(own, { externals: [external("")] }), own.authority);
    await using ca = await startCa({ root: own.authority.root as ReturnType<typeof createRoot> });
    const given = await change(own, { externals: [ca.authority], root: bare(root) });
    assert.deepEqual(given, { root: bare(root) });
    const cluster = withExternals({ ...own, authority: given }, [external(root.certificate)]);
    assert.deepEqual(await change(cluster, { root }), { root });
  });

  it("a rotation is called off by the present root, and its next one can get another key", async () => {
    const next = createRoot();
    const rotating = { ...own, authority: startRotation(own.authority, next) };
    assert.deepEqual(await change(rotating, { root: own.authority.root }), { root: own.authority.root });
    await using ca = await startCa({ root: next });
    const authority = await change(rotating, { externals: [ca.authority], root: bare(next) });
    assert.deepEqual(authority, { ...rotating.authority, next: bare(next) });
    const external_ = withExternals({ ...own, authority }, [ca.authority]);
    await assert.rejects(change(external_, { externals: [] }), { message: none("next") });
    assert.equal(await change(external_, { externals: [external(""), ca.authority] }), authority);
  });
});

describe("from an external root", () => {
  it("to one of ours, or the user's: signed by the external CA, and a node gets from one root to the other", async () => {
    await using ca = await startCa();
    const cluster = outside(ca.root, [ca.authority]);
    for (const root of [undefined, createRoot()]) {
      const authority = await change(cluster, { rotate: true, ...(root && { root }) });
      if (root !== undefined) assert.deepEqual(authority.next, root);
      assert.equal(trustBundle(authority), ca.root.certificate + (authority.next?.certificate ?? ""));
      const subject = { nodeId: newSwarmId(), role: "worker", clusterId, expiry: hour } as const;
      const [leaf, ...others] = readCertificates(issue(authority, createRequest(newKey()), subject));
      for (const trusted of [ca.root, authority.next])
        assert.ok(leaf && chainOf(leaf, others, readCertificates(trusted?.certificate ?? "")), "no chain");
    }
    assert.deepEqual(
      ca.requests.map(({ profile }) => profile),
      ["CA", "CA"],
    );
  });

  it("not to another external one, in Docker's words", async () => {
    await using ca = await startCa();
    await using other = await startCa();
    const cluster = outside(ca.root, [ca.authority]);
    const wish = { externals: [ca.authority, other.authority], root: bare(other.root) };
    const message = "rotating from one external CA to a different external CA is not supported";
    await assert.rejects(change(cluster, wish), { class: "invalid", message });
  });

  it("a cross certificate that is none is refused, and it is said why", async () => {
    const text = /^unable to generate a cross-signed certificate for root rotation: https:.*: /;
    const cases = {
      "no CA: its profile is that of nodes": [
        { extensions: [] },
        /not that of a CA: the CA needs a profile CA for it$/,
      ],
      "one that is over": [{ to: Date.now() + 60_000 }, /not valid now, or not for half an hour more$/],
    } as const;
    for (const [content, message] of Object.values(cases)) {
      const root = createRoot();
      const answered = (certificate: string) => JSON.stringify({ success: true, result: { certificate } });
      await using ca = await startCa({
        root,
        answer: (request) => [200, answered(crossSign(root, request, { content }))],
      });
      const cluster = outside(root, [ca.authority]);
      await assert.rejects(change(cluster, { rotate: true }), (error: Error) => {
        assert.match(error.message, text);
        assert.match(error.message, message);
        return true;
      });
    }
  });

  it("keeps a CA that can be reached, but asks for it only when something of the CA changes", async () => {
    await using ca = await startCa();
    const cluster = outside(ca.root, [external(ca.root.certificate)]);
    const dead = new RegExp(`^${none("current")}: .*ECONNREFUSED`);
    assert.equal(await change(cluster, {}), cluster.authority);
    await assert.rejects(change(cluster, { rotate: true }), { message: dead });
    await assert.rejects(change(cluster, { root: createRoot() }), { message: dead });
    await assert.rejects(change(cluster, { externals: [] }), { message: none("current") });
    assert.equal(await change(cluster, { externals: [external("", ca.url)] }), cluster.authority);
  });
});
