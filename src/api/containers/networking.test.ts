import assert from "node:assert/strict";
import { test } from "node:test";
import { created, otherId, plainAttachment, withHost } from "./create-testing.ts";

const modeConflict = (mode: string, more: object, host: object = {}) =>
  created({ Image: "busybox", ...more, HostConfig: { NetworkMode: mode, ...host } });

test("network modes conflict with what they cannot have (Docker's texts)", async () => {
  const cases: readonly (readonly [object, object, string])[] = [
    [{ Hostname: "h" }, {}, "conflicting options: hostname and the network mode"],
    [{}, { Dns: ["1.1.1.1"] }, "conflicting options: dns and the network mode"],
    [{}, { ExtraHosts: ["a:1.1.1.1"] }, "conflicting options: custom host-to-IP mapping and the network mode"],
    [{}, { PublishAllPorts: true }, "conflicting options: port publishing and the container type network mode"],
    [
      {},
      { PortBindings: { "80/tcp": [{}] } },
      "conflicting options: port publishing and the container type network mode",
    ],
    [{ ExposedPorts: { "80/tcp": {} } }, {}, "conflicting options: port exposing and the container type network mode"],
    [{ MacAddress: "02:42:ac:11:00:05" }, {}, "conflicting options: mac-address and the network mode"],
    [
      { NetworkingConfig: { EndpointsConfig: { "container:other": { MacAddress: "02:42:ac:11:00:05" } } } },
      {},
      "conflicting options: mac-address and the network mode",
    ],
    [
      { NetworkingConfig: { EndpointsConfig: { n: {} } } },
      {},
      "container sharing network namespace with another container or host cannot be connected to any other network",
    ],
  ];
  for (const [more, host, text] of cases) {
    const { status, message } = await modeConflict("container:other", more, host);
    assert.deepEqual([status, message], [400, text]);
  }
  const none = await modeConflict("none", { NetworkingConfig: { EndpointsConfig: { n: {} } } });
  assert.equal(
    none.message,
    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
  );
  assert.match(
    (await modeConflict("host", {}, { Links: ["a:b"] })).message,
    /^conflicting options: host type networking/,
  );
  assert.match(
    (await modeConflict("bridge", {}, { Links: ["a:b"] })).message,
    /^HostConfig\.Links is not supported on/,
  );
  assert.equal((await modeConflict("container:", {})).message, "invalid container format container:<name|id>");
  const gone = await modeConflict("container:gone", {});
  assert.deepEqual(
    [gone.status, gone.message],
    [400, "joining network namespace of container: No such container: gone"],
  );
});

test("modes without networks of their own", async () => {
  const shared = await modeConflict("container:other", {});
  assert.deepEqual([shared.spec?.networkMode, shared.request?.attachments], [`container:${otherId}`, []]);
  const host = await modeConflict("host", { NetworkingConfig: { EndpointsConfig: { host: {} } } });
  assert.deepEqual(host.request?.attachments, [{ network: "host", ...plainAttachment }]);
  assert.notEqual(host.spec?.hostname, "");
  const named = await modeConflict("default", {
    NetworkingConfig: { EndpointsConfig: { default: { Aliases: ["a"] } } },
  });
  assert.deepEqual(named.request?.attachments, [{ network: "bridge", ...plainAttachment, aliases: ["a"] }]);
});

test("endpoint settings are checked, and the network named", async () => {
  const EndpointsConfig = { n: { IPAMConfig: { IPv4Address: "x" } } };
  const { message } = await modeConflict("n", { NetworkingConfig: { EndpointsConfig } });
  assert.equal(message, "invalid config for network n: invalid endpoint settings:\ninvalid IPv4 address: x");
});

const mac = "02:42:ac:11:00:05";
test("the MAC address of old clients belongs to the main network", async () => {
  const body = { Image: "busybox", MacAddress: mac, HostConfig: { NetworkMode: "n" } };
  const old = await created(body, "/v1.43/containers/create");
  assert.deepEqual([old.request?.attachments[0]?.mac, old.json.Warnings.length], [mac, 1]);
  const newer = await created(body, "/v1.44/containers/create");
  assert.equal(newer.request?.attachments[0]?.mac, mac);
  assert.match(newer.json.Warnings[1], /^The container-wide MacAddress field is now deprecated/);
  const NetworkingConfig = { EndpointsConfig: { n: { MacAddress: "02:42:ac:11:00:06" } } };
  const twice = await created({ ...body, NetworkingConfig });
  assert.match(twice.message, /^the container-wide MAC address must match the endpoint-specific MAC address/);
  const ignored = await created({ ...body, MacAddress: "", NetworkingConfig }, "/v1.43/containers/create");
  assert.equal(ignored.request?.attachments[0]?.mac, undefined);
  const other = await created({ ...body, NetworkingConfig: { EndpointsConfig: { m: {} } } });
  assert.equal(
    other.message,
    "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
  );
});

test("several networks at create need API 1.44", async () => {
  const body = {
    Image: "busybox",
    NetworkingConfig: { EndpointsConfig: { a: {}, b: {} } },
    HostConfig: { NetworkMode: "b" },
  };
  const old = await created(body, "/v1.43/containers/create");
  assert.equal(old.message, "Container cannot be created with multiple network endpoints: a, b");
  const { request } = await created(body, "/v1.44/containers/create");
  assert.deepEqual(
    request?.attachments.map((a) => a.network),
    ["b", "a"],
  );
});

test("sysctls of eth0 move to the endpoint for old clients", async () => {
  const key = "com.docker.network.endpoint.sysctls";
  const Sysctls = { "net.ipv4.conf.eth0.log_martians": "1", "net.core.somaxconn": "5" };
  const body = { Image: "busybox", HostConfig: { NetworkMode: "n", Sysctls } };
  const { spec, request, json } = await created(body, "/v1.46/containers/create");
  assert.deepEqual(spec?.sysctls, { "net.core.somaxconn": "5" });
  assert.deepEqual(request?.attachments[0]?.driverOptions, { [key]: "net.ipv4.conf.IFNAME.log_martians=1" });
  assert.match(json.Warnings[1], /^Migrated sysctl "net\.ipv4\.conf\.eth0\.log_martians" to DriverOpts/);
  const newer = await created(body);
  assert.match(newer.message, /must be supplied using driver option 'com\.docker\.network\.endpoint\.sysctls'$/);
});

test("AutoRemove is the client's own business before API 1.25", async () => {
  const body = { Image: "busybox", HostConfig: { AutoRemove: true } };
  assert.equal((await created(body, "/v1.24/containers/create")).spec?.autoRemove, false);
  assert.equal((await created(body)).spec?.autoRemove, true);
  const both = await withHost({ AutoRemove: true, RestartPolicy: { Name: "always" } });
  assert.equal(both.message, "can't create 'AutoRemove' container with restart policy");
});
