/** What Docker says about a node's place in a swarm (moby daemon/cluster/errors.go, noderunner.go, swarm.go). */
const notManager = "This node is not a swarm manager.";
export const texts = {
  notInSwarm: `${notManager} Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`,
  worker: `${notManager} Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.`,
  preparing: `${notManager} Manager is being prepared or has trouble connecting to the cluster.`,
  attachTimeout:
    "attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded",
  noManager: "no manager of the swarm answers",
  noLeader:
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.",
  alreadyPart:
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
  notPart: "This node is not part of a swarm",
  locked:
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.',
  leaveLocked: "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.",
  notLocked: "swarm is not locked",
  joinTimeout:
    'Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.',
  expired: "Swarm certificates have expired. To replace them, leave the swarm and join again.",
} as const;

/** Why a manager does not simply leave. @param reachable managers that answer, this one among them @param others those that do not */
export function leaveWarning(reachable: number, others: number): string {
  const begin = "You are attempting to leave the swarm on a node that is participating as a manager. ";
  if (reachable === 1 && others === 0)
    return `${begin}Removing the last manager erases all current state of the swarm. Use \`--force\` to ignore this message. `;
  const losesQuorum = reachable - 2 <= others;
  const loss = `Removing this node leaves ${reachable - 1} managers out of ${reachable + others}. Without a Raft quorum your swarm will be inaccessible. `;
  return `${begin}${losesQuorum ? loss : ""}The only way to restore a swarm that has lost consensus is to reinitialize it with \`--force-new-cluster\`. Use \`--force\` to suppress this message.`;
}
