/** Docker's text for calls that need a swarm (moby daemon/cluster/errors.go). */
export const notManager =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
