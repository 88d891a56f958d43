import type { ServiceImpl } from "@connectrpc/connect";
import { failpoint } from "../../lib/failpoint.ts";
import { toJsonBytes } from "../../lib/json-bytes.ts";
import type { Store } from "../../store/store.ts";
import { attach, type AttachWish, detach } from "../attachments.ts";
import { callerOf } from "../calls/control-server.ts";
import type { AttachRequest, Node } from "../gen/control_pb.ts";

/** A manager's answers to nodes whose containers come onto networks of the cluster, or leave them. A node acts for itself only. */
export function attachmentService(store: Store): Pick<ServiceImpl<typeof Node>, "attach" | "detach"> {
  return {
    async attach(request, context) {
      const nodeId = callerOf(context).identity?.nodeId ?? "";
      failpoint("overlay.claim.before-etcd");
      const { result } = await store.update((tx) => attach(tx, nodeId, wishFromWire(request)), context.signal);
      failpoint("overlay.claim.after-etcd");
      const { network, pools, peer } = result;
      return { network: toJsonBytes(network), pools: pools.map((pool) => toJsonBytes(pool)), peer: toJsonBytes(peer) };
    },
    async detach({ endpointIds }, context) {
      const nodeId = callerOf(context).identity?.nodeId ?? "";
      failpoint("overlay.release.before-etcd");
      await store.update((tx) => detach(tx, nodeId, endpointIds), context.signal);
      failpoint("overlay.release.after-etcd");
      return {};
    },
  };
}

function wishFromWire({
  network,
  endpointId,
  containerId,
  containerName,
  names,
  ipv4,
  ipv6,
  mac,
  taskId,
  ingressSandbox,
}: AttachRequest): AttachWish {
  return {
    network,
    endpointId,
    containerId,
    containerName,
    names,
    ...(ipv4 !== "" && { ipv4 }),
    ...(ipv6 !== "" && { ipv6 }),
    ...(mac !== "" && { mac }),
    ...(taskId !== "" && { taskId }),
    ...(ingressSandbox && { isIngressSandbox: true }),
  };
}
