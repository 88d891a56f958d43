import assert from "node:assert/strict";
import { it } from "node:test";
import { node, onMachine } from "../support/machine.ts";

it("make demo comes to its end twice, and says how to go on; make demo-stop leaves nothing", () => {
  const text = onMachine(`
${node} tools/demo.ts > /dev/null
${node} tools/demo.ts
export DOCKER_HOST=unix:///var/lib/tombolo-lab/demo/h1/docker.sock
echo "== goes on"
docker ps --format '{{.Names}}' -f name=-a
docker service ls --format '{{.Name}} {{.Replicas}}'
for host in h1 h2 h3; do bin/tombolo -H unix:///var/lib/tombolo-lab/demo/$host/docker.sock audit; done
${node} tools/demo.ts stop
echo "== stopped"
ls /var/lib
ip -o link | grep -v ' lo: ' || true
grep -E ' /(run|var/lib)/tombolo' /proc/self/mounts || true
ps ax -o comm= | grep -E 'node|containerd|etcd|sleep' || true
${node} tools/demo.ts stop`);
  const [demo = "", on = "", stopped] = text.split(/== .*\n/);
  for (const host of ["h1", "h2", "h3"]) assert.match(demo, new RegExp(`^${host}# docker network ls$`, "m"));
  assert.match(demo, /^h1# docker exec shop-a ping -c2 shop-b$[^#]* 0% packet loss$/m);
  assert.match(
    demo,
    /192\.0\.2\.1\.\d+ > 192\.0\.2\.2\.4789: VXLAN, .* vni 4097\n.*ICMP.*\n +10\.20\.0\.2 > 10\.20\.0\.3: ICMP echo request/,
  );
  assert.match(demo, /vault-b ping statistics ---\n2 packets transmitted, 2 packets received/m);
  const shares = [...demo.matchAll(/^ +(\d+) task [1-5] on h[123], asked by 10\.20\.0\.2$/gm)].map(([, count]) =>
    Number(count),
  );
  assert.equal(shares.length, 5);
  assert.ok(
    shares.every((share) => Math.abs(share - 200) <= 10),
    `${shares}`,
  );
  assert.equal(demo.match(/^task [1-5] on h[123], asked by 192\.0\.2\.254$/gm)?.length, 3);
  const [, answered] = /^(\d+) requests answered, 0 lost$/m.exec(demo) ?? [];
  assert.ok(Number(answered) > 50, `${answered} requests`);
  assert.match(demo, /_ web\.1 .* Shutdown /);
  assert.match(demo, /^ {2}export DOCKER_HOST=unix:\/\/\/var\/lib\/tombolo-lab\/demo\/h1\/docker\.sock$/m);
  assert.equal(on, "vault-a\nshop-a\nweb 5/5\n0 differences\n0 differences\n0 differences\n");
  assert.equal(stopped, "");
});
