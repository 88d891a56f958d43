import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AddressWish, placeText, resolveAddresses } from "./addressing.ts";

const eth0 = { link: "eth0", address: "192.0.2.1" };
const six = { link: "eth0", address: "2001:db8::1" };
const eth1 = { link: "eth1", address: "198.51.100.1" };
const resolve = (wish: Partial<AddressWish>, own = [eth0, six]) =>
  resolveAddresses({ listenAddress: "0.0.0.0:2377", advertiseAddress: "", dataPathAddress: "", ...wish }, own);
const advertised = (wish: Partial<AddressWish>, own?: (typeof eth0)[]) => placeText(resolve(wish, own).advertise);

describe("a node's addresses", () => {
  it("are the only one of the host, where nothing is said; IPv6 where there is no other", () => {
    assert.deepEqual(resolve({}), {
      listen: { address: "0.0.0.0", port: 2377 },
      advertise: { address: "192.0.2.1", port: 2377 },
      dataPath: "192.0.2.1",
    });
    assert.equal(advertised({}, [six]), "[2001:db8::1]:2377");
  });

  it("follow what is said: an address or a link, with a port or without", () => {
    assert.equal(advertised({ listenAddress: "192.0.2.1:3377" }), "192.0.2.1:3377");
    assert.equal(advertised({ listenAddress: "eth0" }), "192.0.2.1:2377");
    assert.equal(advertised({ advertiseAddress: "eth1:4000" }, [eth0, eth1]), "198.51.100.1:4000");
    assert.equal(advertised({ advertiseAddress: "[2001:db8::1]:4000" }), "[2001:db8::1]:4000");
    assert.equal(advertised({ advertiseAddress: "2001:db8::1" }), "[2001:db8::1]:2377");
    assert.equal(resolve({ advertiseAddress: "eth0", dataPathAddress: "eth1" }, [eth0, eth1]).dataPath, "198.51.100.1");
  });

  it("are refused in Docker's words, or naming those that the host has", () => {
    const cases: [Partial<AddressWish>, (typeof eth0)[], RegExp][] = [
      [{}, [], /^could not find the system's IP address$/],
      [
        {},
        [eth0, eth1],
        /^could not choose an IP address to advertise since this system has multiple addresses on different interfaces \(192\.0\.2\.1 on eth0 and 198\.51\.100\.1 on eth1\)$/,
      ],
      [
        {},
        [eth0, { ...eth0, address: "192.0.2.9" }],
        /multiple addresses on interface eth0 \(192\.0\.2\.1 and 192\.0\.2\.9\)$/,
      ],
      [
        { advertiseAddress: "eth0" },
        [eth0, { ...eth0, address: "192.0.2.9" }],
        /^interface eth0 has more than one IPv4 address \(192\.0\.2\.1 and 192\.0\.2\.9\)$/,
      ],
      [{ listenAddress: "eth9" }, [eth0], /^listen address must be an IP address or network interface/],
      [{ listenAddress: "0.0.0.0:0" }, [eth0], /^listen address must be/],
      [{ advertiseAddress: "0.0.0.0" }, [eth0], /^advertise address must be a non-zero IP address/],
      [{ advertiseAddress: "a:b:c" }, [eth0], /^advertise address must be/],
      [{ dataPathAddress: "192.0.2.1:4789" }, [eth0], /^data path address must be a non-zero IP address/],
      [
        { advertiseAddress: "203.0.113.5" },
        [eth0, six],
        /^203\.0\.113\.5 is not an address of this host, which has 192\.0\.2\.1 on eth0, 2001:db8::1 on eth0$/,
      ],
    ];
    for (const [wish, own, message] of cases)
      assert.throws(() => resolve(wish, own), { message }, JSON.stringify(wish));
  });
});
