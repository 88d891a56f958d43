import { type Addressing, placeText, readPlace } from "../addressing.ts";
import type { NodeState } from "../identity/node-files.ts";
import type { ManagerIdentity } from "../manager/manager.ts";

/** A node's state, as its files keep it. */
export const stateOf = (
  node: Pick<NodeState, "nodeId" | "clusterId" | "role" | "managers">,
  { listen, advertise, dataPath }: Addressing,
): NodeState => ({
  ...node,
  listenAddress: placeText(listen),
  advertiseAddress: placeText(advertise),
  dataPathAddress: dataPath,
});

/** What a manager is, as the files of its node have it. */
export const identityIn = (state: NodeState): ManagerIdentity => ({
  nodeId: state.nodeId,
  clusterId: state.clusterId,
  listen: readPlace(state.listenAddress),
  advertise: readPlace(state.advertiseAddress),
});
